// Maps of heads: one spec for all of a figure, rows from the table heads, a threshold, and a head that is marked on all.

class Maps {
  constructor(root) {
    this.root = root;
    this.group = root.closest("[data-group]")?.dataset.group ?? 0;
    const [model, task] = carried.groups[this.group];
    this.about = JSON.parse(root.querySelector(".about").textContent);
    this.spec = JSON.parse(root.querySelector(".template").textContent);
    this.rows = this.byRun(rowsOf("heads", {model, task, metric: this.about.metric}));
    this.maps = [...root.querySelectorAll(".map")].map((host) => this.map(host));
    this.chosen = "";
    this.prepareSeeds();
    this.prepareThreshold();
    for (const map of this.maps) later(map.canvas, () => this.draw(map));
  }

  byRun(rows) {
    const found = new Map();
    for (const row of rows) {
      const run = `${row.setting}\n${row.seed ?? ""}`;
      if (!found.has(run)) found.set(run, []);
      if (isNumber(row.score)) found.get(run).push(this.cell(row));
    }
    return found;
  }

  cell(row) {
    const name = `${row.layer}-${row.head}`, between = bounds(row.low, row.high, 3) || "no interval";
    const words = `${told(row.score, 3)} ${between}, n = ${row.n}`;
    return {...row, name, ring: this.about.outlined.includes(name), told: words};
  }

  map(host) {
    const canvas = host.querySelector(".canvas");
    const rows = this.rows.get(`${host.dataset.setting}\n${host.dataset.seed}`) || [];
    canvas.addEventListener("keydown", (event) => this.move(event, rows));
    canvas.addEventListener("focus", () => this.choose(this.chosen || (rows[0] && rows[0].name)));
    return {host, canvas, rows, view: null};
  }

  async draw(map) {
    const spec = {...this.spec, datasets: {heads: map.rows}};
    const drawn = await drawChart(map.canvas, spec);
    if (!drawn) return;
    map.view = drawn.view;
    // One handler for mouse, pen and touch: Vega gives the item under any of them.
    for (const kind of ["pointerdown", "pointermove"]) {
      map.view.addEventListener(kind, (event, item) => item?.datum?.name && this.choose(item.datum.name));
    }
    this.tell(map);
  }

  tell(map) {
    if (!map.view) return;
    map.view.signal("threshold", this.threshold).signal("chosen", this.chosen).runAsync();
  }

  choose(name) {
    if (!name || name === this.chosen) return;
    this.chosen = name;
    for (const map of this.maps) this.tell(map);
    this.read();
  }

  /** What the chosen head scores in every run, with links to the cells. */
  read() {
    const [layer, head] = this.chosen.split("-"), list = element("ul");
    for (const map of this.maps.filter((map) => !map.host.hidden)) {
      const row = map.rows.find((row) => row.name === this.chosen);
      const words = row ? row.told : "no score";
      const number = row?.cell ? cellLink(row.cell, words) : words;
      list.append(element("li", {}, element("b", {}, map.host.dataset.setting), " ", number));
    }
    const title = element("p", {class: "label"}, `Head ${this.chosen} (layer ${layer}, head ${head}, counted from 0)`);
    this.root.querySelector(".reading").replaceChildren(title, list);
  }

  /** Arrow keys go from head to head; at an edge they stay. */
  move(event, rows) {
    const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    if (!(event.key in steps)) return;
    event.preventDefault();
    const [layer, head] = this.chosen.split("-").map(Number);
    const [down, right] = steps[event.key];
    const next = `${layer + down}-${head + right}`;
    if (rows.some((row) => row.name === next)) this.choose(next);
  }

  prepareThreshold() {
    const slider = this.root.querySelector(".threshold");
    const step = 10 ** Math.floor(Math.log10(this.about.most / 50 || 0.01));
    Object.assign(slider, {min: 0, max: Math.ceil(this.about.most / step) * step, step});
    slider.value = this.about.threshold ?? 0;
    const set = () => {
      this.threshold = Number(slider.value);
      this.root.querySelector(".at").textContent = String(this.threshold);
      for (const map of this.maps) {
        const over = map.rows.filter((row) => row.score > this.threshold).length;
        map.host.querySelector(".count").textContent = `· ${over} of ${map.rows.length} over ${this.threshold}`;
        this.tell(map);
      }
      this.root.dispatchEvent(new CustomEvent("threshold", {bubbles: true}));
    };
    slider.addEventListener("input", set);
    set();
  }

  prepareSeeds() {
    const seeds = unique(this.maps.map((map) => map.host.dataset.seed).filter(Boolean));
    if (seeds.length < 2) return;
    const select = this.root.querySelector(".seed-choice");
    select.append(...seeds.map((seed) => element("option", {value: seed}, seed)));
    select.parentElement.hidden = false;
    const set = () => {
      for (const map of this.maps) map.host.hidden = Boolean(map.host.dataset.seed) && map.host.dataset.seed !== select.value;
      if (this.chosen) this.read();
    };
    select.addEventListener("change", () => { set(); drawRest(); });
    set();
  }
}

const allMaps = [...document.querySelectorAll(".maps-figure")].map((root) => new Maps(root));
