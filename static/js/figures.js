// What a page of containers shows of them: fetched again on changes, figures filled in. The markup says what it wants:
//   data-live="containers stats"   fetch again on changes since it was made (`data-since` of the page); fill the figures
//   data-id, data-running          a container, and that it has figures
//   data-moving                    in an order by figures: told to fetch itself again (`moved`) now and then
import { topic } from "./live.js";
import { size } from "./words.js";

const page = document.body;
const host = document.querySelector("[data-host]");
const MOVES_MS = 5000;
const AGAIN_MS = 5000;

// What stays as it was is left alone: the browser would lay the table out again for it, each second.
function text(root, name, value) {
  for (const place of root.querySelectorAll(`[data-f="${name}"]`)) if (place.textContent !== String(value)) place.textContent = value;
}

function fill(meter, value) {
  if (meter.value !== value) meter.value = value;
}

const among = (most) => page.dataset.of.replace("%s", most);

function gauge(root, name, value, most) {
  const meter = root.querySelector(`[data-g="${name}"] meter`);
  if (meter && most > 0) fill(meter, Math.min(1, value / most));
}

// Rows come without gauges: only figures fill them.
function place(root) {
  for (const cell of root.querySelectorAll("[data-g]")) {
    if (cell.firstElementChild) continue;
    cell.replaceChildren(document.querySelector(`template[data-gauge="${cell.dataset.g}"]`).content.cloneNode(true));
  }
}

const past = (name) => JSON.parse(document.querySelector(`[data-draw="${name}"]`)?.dataset.past ?? "[]");
const history = { cpu: past("cpu"), mem: past("mem") };
function draw(root, name, value, most, least) {
  const path = root.querySelector(`[data-draw="${name}"] path`);
  if (!path) return;
  const points = history[name];
  points.push(value);
  while (points.length > 121) points.shift();
  // The limit is the top, unless so little is used that nothing would be seen; but what is next to nothing looks so.
  const top = Math.min(most || Infinity, Math.max(least, ...points.map((v) => v * 1.5)));
  const left = 121 - points.length;
  const line = points.map((v, i) => `${left + i} ${(47 - (46 * v) / top).toFixed(1)}`).join("L");
  path.setAttribute("d", `M${left} 48L${line}L120 48z`);
}

function figures(roots, of) {
  for (const root of roots) {
    place(root);
    if (of.cpu !== null) {
      text(root, "cpu", of.cpu.toFixed(2));
      text(root, "cpu-of", among(+of.cpus.toFixed(2)));
      gauge(root, "cpu", of.cpu, of.cpus);
    }
    text(root, "mem", size(of.mem));
    text(root, "mem-of", among(size(of.limit)));
    text(root, "pids", of.pids);
    gauge(root, "mem", of.mem, of.limit);
  }
}

// A point for each second, however often the rest of the page is fetched again.
function curves([root], of) {
  if (of.cpu !== null) draw(root, "cpu", of.cpu, of.cpus, 0.1);
  draw(root, "mem", of.mem, of.limit, 1);
}

// What shows a container, by its id: the page is gone through once, not once for each.
function places() {
  const found = {};
  for (const root of document.querySelectorAll("[data-id]")) (found[root.dataset.id] ??= []).push(root);
  return found;
}

let latest = {};
function numbers(frame) {
  latest = frame.of;
  const found = places();
  for (const [id, of] of Object.entries(frame.of)) {
    if (!found[id]) continue;
    figures(found[id], of);
    curves(found[id], of);
  }
  // A container that ended has no figures; old ones must not stand there as if they were new.
  for (const root of document.querySelectorAll("[data-running][data-id]")) {
    if (!frame.of[root.dataset.id]) ["cpu", "mem", "pids"].forEach((name) => text(root, name, "–"));
  }
  if (!host || !frame.host) return;
  const { cpu, cpus, load, mem } = frame.host;
  host.hidden = false;
  text(host, "cpu", `${cpu === null ? "–" : cpu.toFixed(1)} / ${cpus}`); // of the last second: there was none yet
  fill(host.querySelector("meter"), cpu / cpus);
  text(page, "host-load", load.toFixed(2));
  text(page, "host-mem", size(mem));
  for (const [name, value] of [["host-load", load], ["host-mem", mem]]) page.querySelectorAll(`[data-m="${name}"]`).forEach((meter) => { meter.value = value; });
}

// Which containers the page shows now.
const shown = () => [...document.querySelectorAll("[data-running][data-id]")].map((row) => row.dataset.id);
const stats = topic("stats", { wish: () => ({ ids: shown(), host: true }), receive: numbers });

if (document.querySelector('[data-live~="containers"]')) {
  let heard = page.dataset.since ? { since: Number(page.dataset.since) } : {}; // what it was made of
  topic("containers", {
    wish: () => heard,
    receive: (frame) => { heard = { since: frame.seq }; htmx.trigger(page, "wharfie:changed"); },
  });
}

// What could not be fetched when something changed is fetched again.
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (detail.failed && detail.requestConfig.triggeringEvent?.type === "wharfie:changed") setTimeout(() => htmx.trigger(page, "wharfie:changed"), AGAIN_MS);
});

let before = "";
document.addEventListener("htmx:afterSwap", () => {
  const now = shown().join();
  if (now !== before) stats.renew();
  before = now;
  const found = places();
  for (const [id, of] of Object.entries(latest)) figures(found[id] ?? [], of);
});

setInterval(() => {
  // Nothing moves under a pointer that is about to press, nor from under what is chosen.
  const still = (part) => part.matches(":hover, :focus-within") || part.querySelector(":checked");
  if (!document.hidden) document.querySelectorAll("[data-moving]").forEach((part) => still(part) || htmx.trigger(part, "moved"));
}, MOVES_MS);
