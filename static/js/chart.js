// A chart over time in SVG: areas or lines, a dashed limit, and a cursor that the pointer and the arrow keys move.
// The markup is shell/chart.html. Its table, if it has one, is the first data; `set` gives it others.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;

// The least of 1, 2, 5, 10, 20 … that is not below.
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return unit * ([1, 2, 5].find((step) => step * unit >= value) ?? 10);
}

export class Chart {
  // `say` turns a value into words, `when` a time in milliseconds.
  constructor(figure, { say = (value) => value.toFixed(2), when = (time) => new Date(time).toLocaleTimeString(document.documentElement.lang) } = {}) {
    this.figure = figure;
    this.say = say;
    this.when = when;
    this.stacked = figure.hasAttribute("data-stacked");
    this.limit = Number(figure.dataset.limit) || 0;
    this.svg = figure.querySelector("svg");
    this.cursor = figure.querySelector(".cursor");
    this.cursor.addEventListener("input", () => this.point());
    figure.querySelector(".plot").addEventListener("pointermove", (event) => this.follow(event));
    const table = figure.querySelector("table");
    if (table) this.read(table);
  }

  // The first column has the times, each other one a series; an empty cell is a gap.
  read(table) {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells].slice(1);
    const series = heads.map((head, column) => ({
      name: head.textContent,
      paint: head.dataset.paint,
      values: rows.map(({ cells }) => (cells[column + 1].textContent.trim() === "" ? null : Number(cells[column + 1].textContent))),
    }));
    this.set(rows.map(({ cells }) => Date.parse(cells[0].querySelector("time").dateTime)), series);
  }

  // Times in milliseconds; a series is {name, values, paint}, with null where nothing was measured.
  set(times, series) {
    this.times = times;
    this.series = series;
    this.cursor.max = Math.max(0, times.length - 1);
    if (!this.moved) this.cursor.value = this.cursor.max;
    this.draw();
    this.point();
  }

  draw() {
    const floor = this.times.map(() => 0);
    const layers = this.series.map(({ values, paint }) => {
      const from = this.stacked ? [...floor] : this.times.map(() => 0);
      if (this.stacked) values.forEach((value, i) => { floor[i] += value ?? 0; });
      return { paint, from, to: values.map((value, i) => (value === null ? null : from[i] + value)) };
    });
    const top = roundUp(Math.max(this.limit, ...layers.flatMap(({ to }) => to.map((value) => value ?? 0))));
    const y = (value) => (HEIGHT - (HEIGHT * value) / top).toFixed(2);
    this.svg.setAttribute("viewBox", `0 0 ${Math.max(1, this.times.length - 1)} ${HEIGHT}`);
    this.svg.replaceChildren(...layers.map(({ paint, from, to }, at) => this.path(`area ${paint || `s${(at % 6) + 1}`}`, area(from, to, y))));
    if (this.limit) this.svg.append(this.path("limit", `M0 ${y(this.limit)}H${this.times.length}`));
    this.line = this.path("at", "");
    this.svg.append(this.line);
    const say = (name, words) => { this.figure.querySelector(`[data-axis="${name}"]`).textContent = words; };
    say("top", this.say(top));
    say("from", this.times.length ? this.when(this.times[0]) : "");
    say("to", this.times.length ? this.when(this.times.at(-1)) : "");
  }

  path(className, d) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    return path;
  }

  follow({ clientX }) {
    const { left, width } = this.svg.getBoundingClientRect();
    this.cursor.value = Math.round(((clientX - left) / width) * this.cursor.max);
    this.moved = true;
    this.point();
  }

  // What was measured at the cursor, in words: for those who look and those who listen.
  point() {
    const at = Number(this.cursor.value);
    this.line?.setAttribute("d", `M${at} 0V${HEIGHT}`);
    const words = this.series.map(({ name, values }) => `${name} ${values[at] === null || values[at] === undefined ? "–" : this.say(values[at])}`);
    const moment = this.times.length ? this.when(this.times[at]) : "";
    this.figure.querySelector("output").textContent = [moment, ...words].join("  ");
    this.cursor.setAttribute("aria-valuetext", [moment, ...words].join(", "));
  }
}

// The outline between two lines; a gap ends it and begins another.
function area(from, to, y) {
  const runs = [];
  to.forEach((value, i) => {
    if (value === null) return;
    if (i && to[i - 1] !== null) runs.at(-1).push(i);
    else runs.push([i]);
  });
  return runs.map((run) => `M${run.map((i) => `${i} ${y(to[i])}`).join("L")}L${run.toReversed().map((i) => `${i} ${y(from[i])}`).join("L")}z`).join("");
}

document.querySelectorAll("[data-chart]").forEach((figure) => new Chart(figure));
