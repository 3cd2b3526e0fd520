// One websocket for the page, however many topics it watches. A page's module says which:
//
//   topic("jobs", {
//     wish: () => ({ ids }),        what to ask for; asked again after each reconnect and when the tab is looked at again
//     receive: (frame) => {},       a frame of the topic
//     lost: () => {},               optional: the connection is gone, what is shown grows old
//   })                              returns { renew(), end() }: ask anew because the wish has changed; watch it no more
//
// A frame of figures says when they were measured (`at`): from that the page knows when they have grown old.
// A hidden tab watches nothing. What a topic must not lose or double meanwhile, its wish says: "since …".
import { clock, now } from "./words.js";

const OLD_MS = 3000; // figures come every second
const ANSWERED_MS = 5000;
const OUTDATED_MS = 10000; // a page that is younger is refused for another reason, and no reload would help
const SILENT_MS = 15000; // numbers come every second; this long without any, the connection is dead and does not know it

const page = document.body;
const topics = new Map();
let socket = null;
let tries = 0;
let heard = 0;
let retry = 0;
let measured = 0; // the newest figures, by the server's clock

const say = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

export function topic(name, handlers) {
  topics.set(name, handlers);
  const renew = () => { if (!document.hidden) say({ ...handlers.wish(), sub: name }); };
  renew();
  return { renew, end: () => { topics.delete(name); say({ unsub: name }); } };
}

// What stands on the page is from before, and looks like it, until the socket is back.
function connection(fresh, words) {
  page.classList.toggle("stale", !fresh);
  for (const mark of document.querySelectorAll("[data-connection]")) {
    mark.className = `state ${fresh ? "ok" : "warn"}`;
    if (mark.textContent !== words) mark.textContent = words;
  }
}

function age() {
  if (!measured) return;
  const old = now() - measured > OLD_MS;
  connection(!old, old ? page.dataset.old.replace("%s", clock(new Date(measured))) : page.dataset.connected);
}

function receive(event) {
  const { seq, frames } = JSON.parse(event.data);
  heard = performance.now();
  for (const frame of frames) {
    topics.get(frame.topic)?.receive(frame);
    if (frame.at) measured = frame.at;
  }
  age();
  // Drawn, then acknowledged: the server sends no more than the page can take.
  const ack = () => say({ ack: seq });
  if (document.hidden) ack();
  else requestAnimationFrame(ack);
}

// The session is over: the page comes anew, as the sign-in. But a new password ends the session that asked for it, and the
// next one's cookie comes with the answer, which a reload would stop.
let left = -Infinity;
addEventListener("beforeunload", () => { left = performance.now(); });
export const sinceLeft = () => performance.now() - left;
export const signedOut = () => setTimeout(() => location.reload(), Math.max(0, ANSWERED_MS - sinceLeft()));
// Whoever signed in anew in another tab has other tokens than this page: it would be refused for ever.
const outdated = (answer) => answer.status === 403 && performance.now() > OUTDATED_MS;
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status !== 401) return;
  event.preventDefault(); // it leads to the sign-in at once
  signedOut();
});

// Browsers keep some connections and use them again; after a network went away each of them is dead and does not know it.
const KEPT = 6;
async function ask(tries = 0) {
  try {
    return await fetch(page.dataset.ticket, {
      method: "POST",
      headers: { "X-CSRFToken": document.querySelector('meta[name="csrf"]').content, Accept: "application/json" },
      signal: AbortSignal.timeout(5000),
    });
  } catch (error) {
    if (error.name !== "TimeoutError" || tries >= KEPT) throw error;
    return ask(tries + 1);
  }
}

export async function ticket() {
  const answer = await ask();
  if (answer.status === 401 || outdated(answer)) signedOut();
  if (!answer.ok) throw new Error(`ticket: ${answer.status}`);
  return (await answer.json()).ticket;
}

export const address = (path, ticket) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}?ticket=${ticket}`;

async function connect() {
  const opened = new WebSocket(address("/live/", await ticket()));
  socket = opened;
  opened.onopen = () => {
    tries = 0;
    heard = performance.now();
    connection(true, page.dataset.connected);
    if (!document.hidden) for (const [name, { wish }] of topics) say({ ...wish(), sub: name });
  };
  opened.onmessage = receive;
  // Given up before, or lost; or the session ended, and there may be a next one: who asks for a ticket learns that.
  opened.onclose = () => { if (socket === opened) again(); };
}

function again() {
  socket = null;
  measured = 0;
  connection(false, page.dataset.reconnecting);
  for (const { lost } of topics.values()) lost?.();
  tries += 1;
  clearTimeout(retry);
  retry = setTimeout(() => connect().catch(again), Math.min(15000, 500 * 2 ** tries) * (0.5 + Math.random() / 2));
}

document.addEventListener("visibilitychange", () => {
  heard = performance.now();
  measured = 0;
  for (const [name, { wish }] of topics) say(document.hidden ? { unsub: name } : { ...wish(), sub: name });
});

// A network that went away closes nothing.
setInterval(() => {
  if (document.hidden || socket?.readyState !== WebSocket.OPEN || !topics.has("stats")) return;
  if (performance.now() - heard < SILENT_MS) return age();
  const dead = socket;
  again();
  dead.close();
}, 1000);
addEventListener("online", () => { if (!socket) { clearTimeout(retry); connect().catch(again); } });

connect().catch(again);
