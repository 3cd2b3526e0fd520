// A chart over time in SVG: areas or lines, a dashed limit, and a cursor that the pointer and the arrow keys move.
// The markup is shell/chart.html. Its table, if it is `data-chart`, is the data; else `set` gives them, and again.
import { clock, size } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const GAP_MS = 15_000; // points that come each second and are farther apart than this are not joined
const SMALL = 8; // of a limit so many times what is used the line would press the rest flat
const ROWS = 60; // of the table

const UNITS = {
  cores: { say: (value) => value.toFixed(2) },
  bytes: { say: size, binary: true },
  rate: { say: (value) => `${size(value)}/s`, binary: true },
  count: { say: (value) => String(Math.round(value)) },
  percent: { say: (value) => `${value.toFixed(1)} %` },
};

// The least of 1, 2, 5, 10, 20 … that is not below; of bytes the least power of two.
function roundUp(value, binary) {
  if (binary) return 2 ** Math.ceil(Math.log2(value || 1));
  const unit = 10 ** Math.floor(Math.log10(value || 1));
  return unit * ([1, 2, 5].find((step) => step * unit >= value) ?? 10);
}

export class Chart {
  constructor(figure) {
    this.figure = figure;
    ({ say: this.say, binary: this.binary } = UNITS[figure.dataset.unit]);
    this.when = (time) => clock(new Date(time));
    this.stacked = figure.hasAttribute("data-stacked");
    this.limit = Number(figure.dataset.limit) || 0;
    this.axis("limit", this.limit ? figure.dataset.limited.replace("%s", this.say(this.limit)) : "");
    this.svg = figure.querySelector("svg");
    this.cursor = figure.querySelector(".cursor");
    this.cursor.addEventListener("input", () => this.stay());
    const plot = figure.querySelector(".plot");
    plot.addEventListener("pointermove", (event) => this.follow(event));
    plot.addEventListener("pointerleave", () => { this.cursor.value = this.cursor.max; this.stay(); });
    const table = figure.querySelector("table");
    if (figure.hasAttribute("data-chart")) this.read(table);
    else table?.closest("details").addEventListener("toggle", () => this.tabulate(table.tBodies[0]));
  }

  // The first column has the times, each other one a series; an empty cell is a gap.
  read(table) {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells].slice(1);
    this.joins = Infinity; // the table's points are as far apart as it likes
    const series = heads.map((head, column) => ({
      name: head.textContent,
      paint: head.dataset.paint,
      values: rows.map(({ cells }) => (cells[column + 1].textContent.trim() === "" ? null : Number(cells[column + 1].textContent))),
    }));
    this.set(rows.map(({ cells }) => Date.parse(cells[0].querySelector("time").dateTime)), series);
  }

  // And back: the figures of the moment in which somebody opens them, for who cannot see the curve.
  tabulate(body) {
    if (!this.times?.length) return;
    const step = Math.ceil(this.times.length / ROWS);
    const cell = (row, words) => { const made = row.insertCell(); made.className = "r num"; made.textContent = words; };
    body.replaceChildren(...this.times.flatMap((time, i) => {
      if ((this.times.length - 1 - i) % step) return [];
      const row = document.createElement("tr");
      const when = document.createElement("time");
      when.dateTime = new Date(time).toISOString();
      when.textContent = this.when(time);
      row.insertCell().append(when);
      for (const { values } of this.series) cell(row, this.words(values[i]));
      return [row];
    }));
  }

  // Times in milliseconds; a series is {name, values, paint}, with null where nothing was measured. The axis has the
  // span, if there is one: data may begin later than it does.
  set(times, series, span) {
    this.times = times;
    this.series = series.map((one, at) => ({ ...one, paint: one.paint || `s${(at % 6) + 1}`, peak: Math.max(...one.values.map((value) => value ?? -Infinity)) }));
    [this.from, this.to] = span ?? [times[0] ?? 0, times.at(-1) ?? 0];
    this.cursor.max = Math.max(0, times.length - 1);
    this.cursor.value = this.moment ? this.nearest(this.moment) : this.cursor.max;
    this.draw();
    this.point();
  }

  x(time) { return ((time - this.from) / 1000).toFixed(1); }

  // Where the cursor is put it stays while time goes on; at the end it goes along.
  stay() {
    this.moment = Number(this.cursor.value) < Number(this.cursor.max) ? this.times[this.cursor.value] : 0;
    this.point();
  }

  nearest(time) {
    const after = this.times.findIndex((each) => each >= time);
    if (after < 0) return this.times.length - 1;
    return after && time - this.times[after - 1] < this.times[after] - time ? after - 1 : after;
  }

  draw() {
    const floor = this.times.map(() => 0);
    const layers = this.series.map(({ values, paint }) => {
      const from = this.stacked ? [...floor] : floor;
      if (this.stacked) values.forEach((value, i) => { floor[i] += value ?? 0; });
      return { paint, from, to: values.map((value, i) => (value === null ? null : from[i] + value)) };
    });
    const most = Math.max(0, ...layers.flatMap(({ to }) => to.map((value) => value ?? 0)));
    const near = this.limit && most * SMALL >= this.limit;
    const top = roundUp(near ? Math.max(this.limit, most) : most, this.binary);
    const y = (value) => (HEIGHT - (HEIGHT * value) / top).toFixed(2);
    const width = Math.max(1, (this.to - this.from) / 1000);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.replaceChildren(...layers.map(({ paint, from, to }) => this.path(`area ${paint}`, this.area(from, to, y))));
    if (this.limit && this.limit <= top) this.svg.append(this.path("limit", `M0 ${y(this.limit)}H${width}`));
    this.line = this.path("at", "");
    this.svg.append(this.line);
    this.axis("top", this.say(top));
    this.axis("from", this.to ? this.when(this.from) : "");
    this.axis("to", this.to ? this.when(this.to) : "");
  }

  axis(name, words) { this.figure.querySelector(`[data-axis="${name}"]`).textContent = words; }

  path(className, d) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    return path;
  }

  // The outline between two lines; a gap ends it and begins another.
  area(from, to, y) {
    const runs = [];
    to.forEach((value, i) => {
      if (value === null) return;
      if (i && to[i - 1] !== null && this.times[i] - this.times[i - 1] <= (this.joins ?? GAP_MS)) runs.at(-1).push(i);
      else runs.push([i]);
    });
    const along = (run, line) => run.map((i) => `${this.x(this.times[i])} ${y(line[i])}`).join("L");
    return runs.map((run) => `M${along(run, to)}L${along(run.toReversed(), from)}z`).join("");
  }

  follow({ clientX }) {
    const { left, width } = this.svg.getBoundingClientRect();
    this.cursor.value = this.nearest(this.from + ((clientX - left) / width) * (this.to - this.from));
    this.stay();
  }

  words(value) { return value === null || value === undefined ? "–" : this.say(value); }

  // What was measured at the cursor, in words: for those who look and those who listen.
  point() {
    const at = Number(this.cursor.value);
    const time = this.times[at];
    if (time === undefined) return this.figure.querySelector("output").replaceChildren();
    this.line.setAttribute("d", `M${this.x(time)} 0V${HEIGHT}`);
    this.figure.querySelector("output").replaceChildren(this.when(time), ...this.series.map((one) => this.key(one, at)));
    this.cursor.setAttribute("aria-valuetext", [this.when(time), ...this.series.map(({ name, values }) => `${name} ${this.words(values[at])}`)].join(", "));
  }

  key({ name, paint, values, peak }, at) {
    const key = document.createElement("span");
    key.className = `key ${paint}`;
    const value = document.createElement("b");
    value.textContent = this.words(values[at]);
    const most = document.createElement("small");
    most.textContent = Number.isFinite(peak) ? this.figure.dataset.peak.replace("%s", this.say(peak)) : "";
    key.append(document.createElement("i"), `${name} `, value, " ", most);
    return key;
  }
}

document.querySelectorAll("[data-chart]").forEach((figure) => new Chart(figure));
