// The rows of results.json, as the page carries them (packed.py), and small things that every part needs.

const carried = JSON.parse(document.getElementById("data").textContent);

/** The values of a column, one for each row; null where the table has no such column. */
function column(table, name) {
  const rows = carried.tables[table];
  const found = rows && rows.columns[name];
  if (found === undefined || found === null) return new Array(rows ? rows.length : 0).fill(null);
  if (Array.isArray(found)) return found;
  if ("words" in found) return found.at.map((at) => (at < 0 ? null : found.words[at]));
  return new Array(rows.length).fill(found.all);
}

const unpacked = new Map();

/** A table's columns by name, each unpacked once. */
function columns(table) {
  if (!unpacked.has(table)) {
    const names = Object.keys((carried.tables[table] || {columns: {}}).columns);
    unpacked.set(table, Object.fromEntries(names.map((name) => [name, column(table, name)])));
  }
  return unpacked.get(table);
}

/** The rows of a table as objects that have the wanted values. */
function rowsOf(table, wanted = {}) {
  const all = columns(table), names = Object.keys(all), found = [];
  const length = (carried.tables[table] || {length: 0}).length;
  const asked = Object.entries(wanted).map(([name, value]) => [all[name] || [], value]);
  for (let i = 0; i < length; i++) {
    if (asked.every(([values, value]) => values[i] === value)) {
      found.push(Object.fromEntries(names.map((name) => [name, all[name][i]])));
    }
  }
  return found;
}

/** An element with attributes and children; text goes in as text, never as markup. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const unique = (values) => [...new Set(values)];

/** 0.83; no negative zero, and a dash for what is not known. */
function told(value, digits = 2) {
  const text = isNumber(value) ? value.toFixed(digits) : "–";
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** What people call a measure of answers, in the same words as beside the charts. */
function label(metric) {
  return carried.labels[metric] ?? metric ?? "score";
}

/** [0.80, 0.86], empty where there are no bounds. */
function bounds(low, high, digits = 2) {
  return isNumber(low) && isNumber(high) ? `[${told(low, digits)}, ${told(high, digits)}]` : "";
}

const places = new Map(
  [...document.querySelectorAll("[data-cell]")].map((head) => [head.textContent, head.parentElement.id]),
);

/** A link to a cell where the page has its line, else its name as text. */
function cellLink(name, text = name) {
  if (!places.has(name)) return document.createTextNode(text ?? "");
  return element("a", {href: `#${places.get(name)}`, title: name}, text);
}

let shownGroup = 0;

/** The model and task that the page shows. */
function group() {
  const [model, task] = carried.groups[shownGroup] || [null, null];
  return {model, task};
}
