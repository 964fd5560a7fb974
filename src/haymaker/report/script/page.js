// The switches of the whole page: which model and task, which of several figures; and links into what is closed.

function showGroup(at) {
  shownGroup = at;
  for (const part of document.querySelectorAll("[data-group]")) part.hidden = Number(part.dataset.group) !== at;
  prepareCompare();
  prepareExamples();
  drawRest();
}

/** Figures of which one is shown at a time get a switch. Nothing is drawn here: groups are yet to be hidden, and what is
 * hidden while it is drawn has no width. */
function prepareChoices(holder) {
  const figures = [...holder.children].filter((child) => child.dataset.choice);
  if (figures.length < 2) return;
  const select = element("select", {}, ...figures.map((one, at) => element("option", {value: at}, one.dataset.choice)));
  holder.before(element("div", {class: "controls"}, element("label", {}, "Show ", select)));
  const set = () => figures.forEach((figure, at) => { figure.hidden = at !== Number(select.value); });
  select.addEventListener("change", () => { set(); drawRest(); });
  set();
}

/** Open whatever a link leads into. */
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target?.id.startsWith("cell-")) target.focus({preventScroll: true});
  target?.scrollIntoView({block: target.id.startsWith("cell-") ? "center" : "start"});
}

for (const holder of document.querySelectorAll("section .wide, section .panels")) prepareChoices(holder);
const switcher = document.getElementById("group");
document.getElementById("switch").hidden = carried.groups.length < 2;
switcher.addEventListener("change", () => showGroup(Number(switcher.value)));
addEventListener("hashchange", reveal);
// Paper cannot be opened: what is folded up is printed, but for the tables of all rows.
const folded = [...document.querySelectorAll("details:not(.table)")];
let opened = [];
addEventListener("beforeprint", () => {
  opened = folded.filter((one) => !one.open);
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
showGroup(0);
if (location.hash) reveal();
document.documentElement.dataset.ready = "";
