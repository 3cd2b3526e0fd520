// Charts of one container: the last hour comes once, then each point as it is measured.
import { Chart } from "./chart.js";
import { topic } from "./live.js";

const root = document.querySelector("[data-metrics]");
const chooser = document.querySelector("[data-span]");
const none = document.querySelector("[data-metrics-none]");
const LONGEST_S = 3600;

const charts = [...root.querySelectorAll("figure")].map((figure) => [
  new Chart(figure),
  [...figure.querySelectorAll("[data-field]")].map((head) => ({ field: head.dataset.field, name: head.textContent })),
]);
const points = { t: [] };
let now = 0;

function draw() {
  const from = now - Number(chooser.value);
  const first = points.t.findIndex((time) => time >= from);
  const shown = (values) => (first < 0 ? [] : values.slice(first));
  const times = shown(points.t).map((time) => time * 1000);
  for (const [chart, lines] of charts) {
    chart.set(times, lines.map(({ field, name }) => ({ name, values: shown(points[field] ?? []) })), [from * 1000, now * 1000]);
  }
}

topic("metrics", {
  wish: () => ({ id: root.dataset.metrics, since: points.t.at(-1) ?? 0 }),
  receive: ({ now: at, topic: _topic, id: _id, ...found }) => {
    now = at;
    if (found.t.length) none.hidden = true;
    const old = points.t.findIndex((time) => time >= now - LONGEST_S);
    for (const [field, values] of Object.entries(found)) points[field] = [...(points[field] ?? []).slice(Math.max(0, old)), ...values];
    draw();
  },
});
chooser.addEventListener("change", draw);
