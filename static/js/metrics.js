// Charts of one container: the last hour is fetched once, then what came since, every second while the tab is looked at.
const root = document.querySelector("[data-points]");
const chooser = document.querySelector("[data-span]");
const PERIOD_MS = 1000;
const LONGEST_S = 3600;
const HEIGHT = 120;
const WIDTH = 600;
const GAP_S = 15; // longer than joined points are apart: nothing was recorded

const points = new Map([...root.querySelectorAll("[data-line]")].map((path) => [path.dataset.line, []]));
let newest = 0;
let now = 0;

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = 0;
  while (bytes >= 1024 && n < units.length - 1) { bytes /= 1024; n++; }
  return `${bytes >= 10 || n === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[n]}`;
}
const said = {
  cores: (value) => value.toFixed(2),
  bytes: size,
  rate: (value) => `${size(value)}/s`,
  count: (value) => String(Math.round(value)),
  percent: (value) => `${value.toFixed(1)} %`,
};

function draw() {
  const span = Number(chooser.value);
  const from = now - span;
  for (const chart of root.querySelectorAll(".chart")) {
    const unit = said[chart.dataset.unit];
    const lines = [...chart.querySelectorAll("[data-line]")].map((path) => [path, points.get(path.dataset.line).filter(([t]) => t >= from)]);
    const top = Math.max(...lines.flatMap(([, line]) => line.map(([, value]) => value ?? 0)), 0) * 1.1 || 1;
    for (const [path, line] of lines) {
      let last = -Infinity;
      path.setAttribute("d", line.filter(([, value]) => value !== null).map(([t, value]) => {
        const move = t - last > GAP_S ? "M" : "L";
        last = t;
        return `${move}${(((t - from) / span) * WIDTH).toFixed(1)} ${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`;
      }).join(""));
      const known = line.map(([, value]) => value).filter((value) => value !== null);
      const place = chart.querySelector(`[data-now="${path.dataset.line}"]`);
      place.querySelector("b").textContent = known.length ? unit(known.at(-1)) : "–";
      place.querySelector("[data-most]").textContent = known.length ? unit(Math.max(...known)) : "–";
    }
  }
}

async function more() {
  const answer = await fetch(`${root.dataset.points}?since=${newest}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const found = await answer.json();
  now = found.now;
  for (const [name, line] of points) {
    found.t.forEach((t, i) => line.push([t, found[name][i]]));
    while (line.length && line[0][0] < now - LONGEST_S) line.shift();
  }
  newest = found.t.at(-1) ?? newest;
  draw();
}

async function go() {
  for (;;) {
    if (!document.hidden) await more().catch(() => null); // the page's own socket says that the connection is gone
    await new Promise((done) => { setTimeout(done, PERIOD_MS); });
  }
}
chooser.addEventListener("change", draw);
go();
