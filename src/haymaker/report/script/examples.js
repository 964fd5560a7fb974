// A reader of examples: question, evidence, answer, what a setting answered, and where its heads looked.

const reader = Object.fromEntries(
  ["answerer", "outcome", "before", "after", "place", "example"].map((id) => [id, document.getElementById(id)]),
);
let exampleAt = 0;

/** The chosen setting's answers; right is the metric's full score. */
function chosenExamples() {
  const [setting, seed] = reader.answerer.value.split("\n");
  const rows = rowsOf("examples", {...group(), setting}).filter((row) => String(row.seed ?? "") === seed);
  const right = (row) => row.score >= 1;
  return rows.filter((row) => reader.outcome.value === "all" || right(row) === (reader.outcome.value === "right"));
}

function fact(name, ...what) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, ...what));
}

/** A head's reads, token by token of the answer: what it looked at most, its weight, and in which part of the prompt. */
function readsTable(row) {
  const same = {...group(), setting: row.setting, example_id: row.example_id};
  const reads = rowsOf("reads", same).filter((one) => (one.seed ?? null) === (row.seed ?? null));
  if (!reads.length) return element("p", {class: "absent"}, "What heads read of this example was not kept.");
  const heads = unique(reads.map((one) => `${one.layer}-${one.head}`));
  const steps = unique(reads.map((one) => one.step));
  const top = element("tr", {}, ...["produced", ...heads].map((name) => element("th", {scope: "col"}, name)));
  const lines = steps.map((step) => {
    const own = reads.filter((one) => one.step === step);
    const cells = heads.map((name) => {
      const read = own.find((one) => `${one.layer}-${one.head}` === name);
      if (!read) return element("td");
      const copied = read.read.trim() === read.produced.trim();
      const token = element(copied ? "b" : "span", {class: "token"}, read.read);
      return element("td", {}, token, ` ${told(read.weight)} `, element("i", {}, read.kind));
    });
    return element("tr", {}, element("th", {scope: "row", class: "token"}, own[0].produced), ...cells);
  });
  const table = element("table", {class: "numbers"}, element("thead", {}, top), element("tbody", {}, ...lines));
  const name = "What heads read while each token of the answer was produced";
  return element("div", {class: "scroll plain", tabindex: "0", role: "region", "aria-label": name}, table);
}

function showExample() {
  const rows = chosenExamples();
  exampleAt = Math.max(0, Math.min(exampleAt, rows.length - 1));
  reader.before.disabled = exampleAt <= 0;
  reader.after.disabled = exampleAt >= rows.length - 1;
  reader.place.textContent = rows.length ? `${exampleAt + 1} of ${rows.length}` : "none";
  const row = rows[exampleAt];
  if (!row) return reader.example.replaceChildren(element("p", {class: "absent"}, "No such answer among the examples."));
  const verdict = row.score >= 1 ? "right" : "not right";
  const answer = element("span", {class: `said ${row.score >= 1 ? "right" : "wrong"}`}, row.prediction || "(nothing)");
  const facts = element("dl", {class: "facts wide"},
    fact("Question", row.question), fact("Evidence", row.evidence), fact("Right answer", row.answers),
    fact(`Answer of ${row.setting}`, answer, ` ${label(row.metric)} ${told(row.score)}, ${verdict}; ended: ${row.finish}`),
    fact("From", row.cell ? cellLink(row.cell) : "no cell is named", ` · ${row.example_id}`));
  reader.example.replaceChildren(facts, readsTable(row));
}

function prepareExamples() {
  if (!reader.answerer) return;
  const runs = unique(rowsOf("examples", group()).map((row) => `${row.setting}\n${row.seed ?? ""}`));
  const named = (run) => run.split("\n").filter(Boolean).join(", seed ");
  reader.answerer.replaceChildren(...runs.map((run) => element("option", {value: run}, named(run))));
  const real = runs.find((run) => run.startsWith("real\n"));
  if (real) reader.answerer.value = real;
  exampleAt = 0;
  showExample();
}

if (reader.answerer) {
  for (const select of [reader.answerer, reader.outcome]) select.addEventListener("change", () => { exampleAt = 0; showExample(); });
  reader.before.addEventListener("click", () => { exampleAt -= 1; showExample(); });
  reader.after.addEventListener("click", () => { exampleAt += 1; showExample(); });
}
