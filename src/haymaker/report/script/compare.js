// Two settings beside each other: scores, the study's own test of the pair, and how alike their heads are.

const pairsHost = document.querySelector(".pairs");
const pairsSpec = JSON.parse(document.getElementById("pairs-template").textContent);
const pickers = Object.fromEntries(["first", "second", "metric"].map((id) => [id, document.getElementById(id)]));

function figureOf(metric) {
  return allMaps.find((maps) => Number(maps.group) === shownGroup && maps.about.metric === metric);
}

/** The mean map of a setting over its seeds: head name to score. */
function meanMap(maps, setting) {
  const sums = new Map();
  for (const [run, rows] of maps.rows) {
    if (run.split("\n")[0] !== setting) continue;
    for (const row of rows) sums.set(row.name, [...(sums.get(row.name) || []), row.score]);
  }
  return new Map([...sums].map(([name, all]) => [name, all.reduce((a, b) => a + b, 0) / all.length]));
}

/** The same measures as haymaker.heads.compare: active is over the threshold, ties in rank by layer and head. */
function likeness(first, second, threshold, k) {
  const names = [...first.keys()].filter((name) => second.has(name));
  let dot = 0, one = 0, other = 0;
  for (const name of names) {
    const a = first.get(name), b = second.get(name);
    dot += a * b; one += a * a; other += b * b;
  }
  const active = (map) => names.filter((name) => map.get(name) > threshold);
  const top = (map) => new Set([...names].sort((a, b) => map.get(b) - map.get(a)).slice(0, k));
  const mine = active(first), theirs = new Set(active(second)), shared = mine.filter((name) => theirs.has(name)).length;
  const best = top(second), common = [...top(first)].filter((name) => best.has(name)).length;
  const share = (count, of) => (of ? count / of : null);
  return {
    cosine: one && other ? dot / Math.sqrt(one * other) : null,
    recall: share(shared, theirs.size), subset: share(shared, mine.length), overlap: share(common, Math.min(k, names.length)),
    counts: [mine.length, theirs.size],
  };
}

function mean(values) {
  const known = values.filter(isNumber);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}

/** The study's own row of the pair in either order, its difference as first minus second. */
function testedPair(first, second) {
  const [straight] = rowsOf("pairs", {...group(), first, second});
  if (straight) return straight;
  const [turned] = rowsOf("pairs", {...group(), first: second, second: first});
  return turned && {...turned, difference: -turned.difference, low: -turned.high, high: -turned.low};
}

function scoreOf(setting) {
  const [pooled] = rowsOf("settings", {...group(), setting});
  if (pooled) return pooled;
  // Without the study's own row over seeds: of one run all it says, of several their mean.
  const rows = runsOf(setting);
  return rows.length > 1 ? {metric: rows[0].metric, n: rows[0].n, score: mean(rows.map((row) => row.score))} : rows[0] || {};
}

/** The runs of a setting at the length where settings are compared. */
function runsOf(setting) {
  return rowsOf("evaluation", {...group(), setting, length: studyLength()});
}

/** Links to the cells of rows: by name where it is one, else numbered. */
function links(rows) {
  const cells = unique(rows.map((row) => row.cell).filter(Boolean));
  return cells.flatMap((cell, at) => [cellLink(cell, cells.length > 1 ? String(at + 1) : cell), " "]);
}

function line(name, value, between, ...from) {
  const cells = [value, between].map((text) => element("td", {}, text));
  return element("tr", {}, element("th", {scope: "row"}, name), ...cells, element("td", {}, ...from));
}

function scoreLines(first, second) {
  const lines = [first, second].map((setting) => {
    const row = scoreOf(setting), between = bounds(row.score_low, row.score_high);
    return line(`${label(row.metric)} of ${setting}`, told(row.score), between, `n = ${row.n ?? "?"} `, ...links(runsOf(setting)));
  });
  const pair = testedPair(first, second), [a, b] = [scoreOf(first), scoreOf(second)];
  if (pair) {
    const p = isNumber(pair.p_holm) ? `, p ${pair.p_holm < 0.001 ? "< 0.001" : `= ${told(pair.p_holm, 3)}`} after Holm’s correction` : "";
    return [...lines, line("difference", told(pair.difference), bounds(pair.low, pair.high), `the study’s paired test, n = ${pair.n}${p}`)];
  }
  const difference = isNumber(a.score) && isNumber(b.score) ? a.score - b.score : null;
  return [...lines, line("difference", told(difference), "", "of the two scores; the study did not test this pair")];
}

/** The length at which most settings were scored. */
function studyLength() {
  const counts = new Map();
  for (const row of rowsOf("evaluation", group())) counts.set(row.length, (counts.get(row.length) || new Set()).add(row.setting));
  return [...counts].sort((a, b) => b[1].size - a[1].size || b[0] - a[0])[0]?.[0];
}

function likenessLines(maps, first, second) {
  const found = likeness(meanMap(maps, first), meanMap(maps, second), maps.threshold, maps.about.k);
  const own = rowsOf("similarity", {...group(), setting: first, reference: second});
  const words = {
    cosine: "cosine of all heads", recall: `recall: heads of ${second} that ${first} has`,
    subset: `heads of ${first} that ${second} has`, overlap: `overlap of the top ${maps.about.k}`,
  };
  const lines = Object.entries(words).map(([measure, name]) => {
    // The study's threshold may not be the slider's: its interval stands only beside its own number.
    const rows = measure === "cosine" || maps.threshold === maps.about.threshold ? own : [];
    const low = mean(rows.map((row) => row[`${measure}_low`])), high = mean(rows.map((row) => row[`${measure}_high`]));
    const from = links(rows);
    const value = rows.length ? mean(rows.map((row) => row[measure])) : found[measure];
    return line(name, told(value, 3), bounds(low, high, 3), ...(from.length ? from : ["the maps above"]));
  });
  const counts = line(`heads over ${maps.threshold}`, `${found.counts[0]} and ${found.counts[1]}`, "", "the maps above");
  return [counts, ...lines];
}

async function drawPairs(maps, first, second) {
  const [a, b] = [first, second].map((setting) => meanMap(maps, setting));
  const names = [...a.keys()].filter((name) => b.has(name));
  const heads = names.map((name) => {
    const [x, y] = [a.get(name), b.get(name)];
    return {name, kind: "retrieval", x, y, told: `${first} ${told(x, 3)}, ${second} ${told(y, 3)}`};
  });
  const scores = heads.flatMap((head) => [head.x, head.y]);
  const most = Math.max(...scores, 0) || 1, low = Math.min(...scores, 0);
  const spec = structuredClone(pairsSpec);
  spec.datasets = {heads, equal: [low, most].map((end) => ({x: end, y: end}))};
  spec.params.find((param) => param.name === "low").value = low;
  spec.params.find((param) => param.name === "most").value = most;
  for (const layer of spec.layer) {
    layer.encoding.x.title = `score in ${first}`;
    layer.encoding.y.title = `score in ${second}`;
  }
  pairsHost.setAttribute("aria-label", `${names.length} heads by their scores in ${first} and in ${second}`);
  await drawChart(pairsHost, spec);
}

function compare() {
  const maps = figureOf(pickers.metric.value), [first, second] = [pickers.first.value, pickers.second.value];
  if (!first || !second) return;
  const lines = [...scoreLines(first, second), ...(maps ? likenessLines(maps, first, second) : [])];
  document.querySelector("#pair tbody").replaceChildren(...lines);
  if (maps && pairsHost.offsetParent) drawPairs(maps, first, second);
}

/** The settings and metrics of the group that is shown. */
function prepareCompare() {
  const settings = unique(rowsOf("evaluation", group()).map((row) => row.setting));
  const metrics = allMaps.filter((maps) => Number(maps.group) === shownGroup).map((maps) => maps.about.metric);
  const options = (names) => names.map((name) => element("option", {value: name}, name));
  for (const id of ["first", "second"]) pickers[id].replaceChildren(...options(settings));
  pickers.metric.replaceChildren(...options(metrics));
  pickers.metric.parentElement.hidden = metrics.length < 2;
  const synthetic = settings.find((name) => !["base", "extended", "real", "real-limited"].includes(name));
  pickers.first.value = synthetic ?? settings[0] ?? "";
  pickers.second.value = settings.includes("real") ? "real" : settings[1] ?? "";
  document.querySelector("#compare .absent").hidden = settings.length > 1;
  later(pairsHost, compare);
  compare();
}

for (const picker of Object.values(pickers)) picker.addEventListener("change", compare);
document.addEventListener("threshold", compare);
