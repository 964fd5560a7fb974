// Tables: the rows of a table when it is opened, sorting by any heading, and csv.

const PAGE_OF_ROWS = 200;

/** The number that a cell of a table begins with, so that "0.76 [0.69, 0.82]" sorts as 0.76; else its text. */
function sortKey(text) {
  const found = /^[+−-]?[\d,]*\.?\d+/.exec(text.trim());
  return found ? Number(found[0].replaceAll(",", "").replace("−", "-")) : text.trim().toLowerCase();
}

/** Numbers by size, texts by letters, and what is empty last, whichever the direction. */
function order(a, b, sign) {
  const [noA, noB] = [a, b].map((value) => value === null || value === "" || value === "–");
  if (noA || noB) return noA - noB;
  if (typeof a === typeof b) return sign * (a < b ? -1 : a > b ? 1 : 0);
  return typeof a === "number" ? -1 : 1;
}

/** A heading that sorts: a button in it, and aria-sort on it. */
function sortable(heading, sort) {
  const button = element("button", {type: "button", class: "sort"}, ...heading.childNodes);
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    sort(up ? 1 : -1);
  });
}

/** Sort a table that stands on the page already. */
function sortStanding(table) {
  [...table.querySelectorAll("thead th")].forEach((heading, at) => sortable(heading, (sign) => {
    const body = table.tBodies[0], keyed = [...body.rows].map((row) => [sortKey(row.cells[at].textContent), row]);
    keyed.sort((a, b) => order(a[0], b[0], sign));
    body.append(...keyed.map(([, row]) => row));
  }));
}

/** RFC 4180: quoted where a comma, a quote or a line break stands inside. */
function csvOf(name) {
  const all = columns(name), names = Object.keys(all);
  const field = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = [names.map(field).join(",")];
  for (let i = 0; i < carried.tables[name].length; i++) lines.push(names.map((key) => field(all[key][i])).join(","));
  return lines.join("\r\n") + "\r\n";
}

function saveCsv(name) {
  const address = URL.createObjectURL(new Blob([csvOf(name)], {type: "text/csv"}));
  element("a", {href: address, download: `${carried.study}-${name}.csv`}).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** The rows of one table, in the order that was last asked for, a page of them at first. */
class Listing {
  constructor(details) {
    this.name = details.dataset.table;
    this.all = columns(this.name);
    this.order = [...Array(carried.tables[this.name].length).keys()];
    this.shown = PAGE_OF_ROWS;
    this.body = element("tbody");
    this.filter = element("input", {type: "search", "aria-label": `Rows of ${this.name} that hold`, placeholder: "rows that hold …"});
    this.more = element("button", {type: "button"});
    details.append(this.controls(), this.table(), this.more);
    this.filter.addEventListener("input", () => this.fill());
    this.more.addEventListener("click", () => { this.shown *= 5; this.fill(); });
    this.fill();
  }

  controls() {
    const csv = element("button", {type: "button", class: "csv"}, "csv");
    csv.setAttribute("aria-label", `Save ${this.name} as csv`);
    csv.addEventListener("click", () => saveCsv(this.name));
    return element("div", {class: "controls"}, this.filter, csv);
  }

  table() {
    const headings = Object.keys(this.all).map((name) => element("th", {scope: "col"}, name));
    for (const [at, heading] of headings.entries()) {
      const values = Object.values(this.all)[at];
      sortable(heading, (sign) => { this.order.sort((a, b) => order(values[a], values[b], sign)); this.fill(); });
    }
    const table = element("table", {class: "rows"}, element("thead", {}, element("tr", {}, ...headings)), this.body);
    return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": `Rows of ${this.name}`}, table);
  }

  fill() {
    const names = Object.keys(this.all), word = this.filter.value.trim().toLowerCase();
    const holds = (i) => names.some((name) => String(this.all[name][i] ?? "").toLowerCase().includes(word));
    const found = word ? this.order.filter(holds) : this.order;
    const cell = (name, i) => (name === "cell" ? cellLink(this.all.cell[i]) : this.all[name][i] ?? "");
    const lines = found.slice(0, this.shown).map((i) =>
      element("tr", {}, ...names.map((name) => element("td", {}, cell(name, i)))));
    this.body.replaceChildren(...lines);
    this.more.hidden = found.length <= this.shown;
    this.more.textContent = `Show more of ${found.length.toLocaleString("en")} rows`;
  }
}

for (const details of document.querySelectorAll("details.table")) {
  const listed = carried.tables[details.dataset.table].length;
  if (listed) details.addEventListener("toggle", () => new Listing(details), {once: true});
}
for (const table of document.querySelectorAll("table.numbers:not(#pair)")) sortStanding(table);
