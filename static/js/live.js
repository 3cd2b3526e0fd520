// One websocket for the page: changes, numbers, and a log. The markup says what it wants:
//   data-live="containers stats"   fetch again on changes; fill the figures
//   data-id, data-running          a container, and that it has figures
import { Log } from "./log.js";

const page = document.body;
const log = document.querySelector("[data-log]") ? new Log(document) : null;
const host = document.querySelector("[data-host]");
let socket = null;
let tries = 0;

const say = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = 0;
  while (bytes >= 1024 && n < units.length - 1) { bytes /= 1024; n++; }
  return `${bytes >= 10 || n === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[n]}`;
}

function connection(state, words) {
  page.classList.toggle("stale", state !== "ok");
  for (const mark of document.querySelectorAll("[data-connection]")) {
    mark.className = `state ${state}`;
    mark.textContent = words;
  }
}

// Which containers the page shows now; a hidden tab wants nothing.
function want() {
  const ids = document.hidden ? [] : [...document.querySelectorAll("[data-running][data-id]")].map((row) => row.dataset.id);
  say(document.hidden ? { unsub: "stats" } : { sub: "stats", ids, host: true });
}

const text = (root, name, value) => root.querySelectorAll(`[data-f="${name}"]`).forEach((place) => { place.textContent = value; });

function gauge(root, name, value, most) {
  const meter = root.querySelector(`[data-g="${name}"] meter`);
  if (meter && most > 0) meter.value = Math.min(1, value / most);
}

// Rows come without gauges: only figures fill them.
function place(root) {
  for (const cell of root.querySelectorAll("[data-g]:not(:has(meter))")) {
    cell.replaceChildren(document.querySelector(`template[data-gauge="${cell.dataset.g}"]`).content.cloneNode(true));
  }
}

const history = { cpu: [], mem: [] };
function draw(root, name, value, most) {
  const path = root.querySelector(`[data-draw="${name}"] path`);
  if (!path) return;
  const points = history[name];
  points.push(value);
  if (points.length > 121) points.shift();
  // The limit is the top, unless so little is used that nothing would be seen.
  const top = Math.min(most || Infinity, Math.max(...points) * 1.5) || 1;
  const left = 121 - points.length;
  const line = points.map((v, i) => `${left + i} ${(47 - (46 * v) / top).toFixed(1)}`).join("L");
  path.setAttribute("d", `M${left} 48L${line}L120 48z`);
}

function figures(id, of) {
  for (const root of document.querySelectorAll(`[data-id="${id}"]`)) {
    place(root);
    if (of.cpu !== null) {
      text(root, "cpu", of.cpu.toFixed(2));
      text(root, "cpu-of", `of ${+of.cpus.toFixed(2)}`);
      gauge(root, "cpu", of.cpu, of.cpus);
    }
    text(root, "mem", size(of.mem));
    text(root, "mem-of", `of ${size(of.limit)}`);
    text(root, "pids", of.pids);
    gauge(root, "mem", of.mem, of.limit);
  }
}

// A point for each second, however often the rest of the page is fetched again.
function curves(id, of) {
  const root = document.querySelector(`[data-id="${id}"]`);
  if (of.cpu !== null) draw(root, "cpu", of.cpu, of.cpus);
  draw(root, "mem", of.mem, of.limit);
}

let latest = {};
function numbers(frame) {
  latest = frame.of;
  for (const [id, of] of Object.entries(frame.of)) {
    figures(id, of);
    curves(id, of);
  }
  // A container that ended has no figures; old ones must not stand there as if they were new.
  for (const root of document.querySelectorAll("[data-running][data-id]")) {
    if (!frame.of[root.dataset.id]) ["cpu", "mem", "pids"].forEach((name) => text(root, name, "–"));
  }
  if (host && frame.host) {
    host.hidden = false;
    text(host, "cpu", `${frame.host.cpu.toFixed(1)} / ${frame.host.cpus}`);
    host.querySelector("meter").value = frame.host.cpu / frame.host.cpus;
  }
}

// A hidden page fetches nothing; it does once it is looked at.
let missed = false;
function changed() {
  missed = document.hidden;
  if (!missed) htmx.trigger(page, "wharfie:changed");
}

function receive(frame) {
  if (frame.topic === "containers") changed();
  if (frame.topic === "stats") numbers(frame);
  if (frame.topic === "logs" && log) {
    log.receive(frame);
    // Drawn, then acknowledged: the server sends no more than the page can take.
    if (frame.seq) requestAnimationFrame(() => say({ ack: frame.seq }));
  }
}

async function connect() {
  const answer = await fetch(page.dataset.ticket, {
    method: "POST",
    headers: { "X-CSRFToken": document.querySelector('meta[name="csrf"]').content, Accept: "application/json" },
  });
  if (answer.status === 401) return location.reload();
  if (!answer.ok) throw new Error(`ticket: ${answer.status}`);
  const { ticket } = await answer.json();
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/?ticket=${ticket}`);
  socket.onopen = () => {
    tries = 0;
    connection("ok", "Live, 1 s");
    if (document.querySelector('[data-live~="containers"]')) say({ sub: "containers" });
    want();
    if (log) say({ sub: "logs", id: log.id, tail: log.begin() });
  };
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = (event) => (event.code === 4401 ? location.reload() : again());
}

function again() {
  connection("warn", "Reconnecting");
  log?.lost();
  tries += 1;
  setTimeout(() => connect().catch(again), Math.min(15000, 500 * 2 ** tries) * (0.5 + Math.random() / 2));
}

document.addEventListener("visibilitychange", () => {
  want();
  if (missed) changed();
});
document.addEventListener("htmx:afterSwap", () => {
  want();
  for (const [id, of] of Object.entries(latest)) figures(id, of);
});
connect().catch(again);
