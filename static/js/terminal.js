// The terminal of a container. The program runs on without us: a reload comes back to it, and sees the last of it.
import { Terminal } from "../vendor/xterm/xterm.mjs";
import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { address, ticket } from "./live.js";

const place = document.querySelector("[data-terminal]");
const mark = document.querySelector("[data-terminal-state]");
const nonce = document.querySelector("script[nonce]").nonce;
const encoder = new TextEncoder();
let socket = null;
let tries = 0;
let ended = false;
let heard = 0;
let retry = 0;
const SILENT_MS = 15000; // the server says every five seconds that it is there
// What reorders the text around it would have a program show other things than it wrote. Read as the stream it is: a
// character may come in two pieces.
const REORDERING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
let decoder = null;

// xterm.js writes its measures into style elements, which our content policy allows only with this answer's nonce.
const make = document.createElement.bind(document);
document.createElement = (name, options) => {
  const made = make(name, options);
  if (name === "style") made.nonce = nonce;
  return made;
};

// And colours into style attributes, which it does not allow; the same through the object model it does.
const setAttribute = Element.prototype.setAttribute;
Element.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
// light-dark() is resolved by an element that uses it.
function resolved(name) {
  const probe = make("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}
const theme = () => ({
  background: resolved("--well"), foreground: resolved("--ink"), cursor: resolved("--mark"),
  cursorAccent: resolved("--well"), selectionBackground: resolved("--edge"),
});

// For a screen reader the rows stand there as text once more, and what comes is spoken. That takes time with each row,
// so whoever needs it says so.
const reader = document.querySelector("[data-terminal-reader]");
function aloud() { try { return localStorage.getItem("terminal-reader") === "true"; } catch { return false; } }
function read(on) {
  reader.setAttribute("aria-pressed", on);
  terminal.options.screenReaderMode = on;
}
reader.addEventListener("click", () => {
  const on = reader.getAttribute("aria-pressed") !== "true";
  try { localStorage.setItem("terminal-reader", on); } catch { /* private mode: lasts as long as the page */ }
  read(on);
});

const terminal = new Terminal({
  fontFamily: colour("--mono"), fontSize: 13, lineHeight: 1.2, scrollback: 10000, theme: theme(), screenReaderMode: aloud(),
  minimumContrastRatio: 4.5, allowProposedApi: false, linkHandler: null,
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(place);
read(aloud());
// OSC 52 would let a container's program write the clipboard; the window's title is ours too.
for (const code of [0, 1, 2, 52]) terminal.parser.registerOscHandler(code, () => true);
// These do something so many times, one by one: a few bytes would keep the page busy for hours.
const MOST_TIMES = 10000;
for (const final of "bLMST") terminal.parser.registerCsiHandler({ final }, ([times]) => times > MOST_TIMES);

const open = () => socket?.readyState === WebSocket.OPEN;
const say = (message) => open() && socket.send(JSON.stringify(message));
const state = (name, words) => { mark.className = `state ${name}`; mark.textContent = words; };
function end(name, words) {
  ended = true;
  state(name, words);
  mark.parentElement.classList.add("ended"); // there is nothing to hang up, and nothing goes on
}

terminal.onData((typed) => { if (open()) for (const part of parts(encoder.encode(typed))) socket.send(part); });
terminal.onBinary((typed) => { if (open()) socket.send(Uint8Array.from(typed, (c) => c.charCodeAt(0))); });
function* parts(bytes) { for (let at = 0; at < bytes.length; at += 32768) yield bytes.subarray(at, at + 32768); }

// All keys go to the program, so one has to lead away; it is named above. One more copies what is marked, since Ctrl+C
// is the program's; by the event that xterm.js fills, for over plain http browsers offer no clipboard.
const OURS = { l: () => (ended ? reader : mark.parentElement.querySelector("a")).focus(), c: () => document.execCommand("copy") };
terminal.attachCustomKeyEventHandler((event) => {
  const act = event.ctrlKey && event.shiftKey && OURS[event.key.toLowerCase()];
  if (!act) return !(ended && event.key === "Tab"); // nothing reads it any more
  event.preventDefault();
  if (event.type === "keydown") act();
  return false;
});
terminal.onResize(({ rows, cols }) => say({ rows, columns: cols }));
let waiting = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => fit.fit());
}).observe(place);
const repaint = () => { terminal.options.theme = theme(); };
new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

function receive(data) {
  if (data instanceof ArrayBuffer) {
    terminal.write(decoder.decode(data, { stream: true }).replace(REORDERING, ""), () => say({ drawn: data.byteLength }));
    return;
  }
  const message = JSON.parse(data);
  if (message.beat) return;
  end("idle", message.exit === null ? place.dataset.ended : place.dataset.exit.replace("%s", message.exit));
  terminal.options.disableStdin = true;
  terminal.options.cursorBlink = false;
}

async function connect() {
  const opened = new WebSocket(address(place.dataset.terminal, await ticket()));
  socket = opened;
  opened.binaryType = "arraybuffer";
  opened.onopen = () => {
    tries = 0;
    heard = performance.now();
    decoder = new TextDecoder();
    terminal.reset(); // all of it comes again
    fit.fit();
    say({ rows: terminal.rows, columns: terminal.cols });
    state("ok", place.dataset.connected);
    if (document.activeElement === document.body) terminal.focus(); // and takes it from nobody who is somewhere else
  };
  opened.onmessage = (event) => {
    if (socket !== opened) return; // given up before
    heard = performance.now();
    receive(event.data);
  };
  opened.onclose = (event) => {
    if (ended || socket !== opened) return;
    if (event.code === 4404) return end("idle", place.dataset.ended);
    if (event.code === 4403) return end("bad", place.dataset.denied);
    again();
  };
}

function again() {
  socket = null;
  state("warn", place.dataset.lost);
  clearTimeout(retry);
  retry = setTimeout(() => connect().catch(again), Math.min(1000 * 2 ** tries++, 15000));
}

// A network that went away closes nothing.
setInterval(() => {
  if (ended || !open() || performance.now() - heard < SILENT_MS) return;
  const dead = socket;
  again();
  dead.close();
}, 1000);
addEventListener("online", () => { if (!socket && !ended) { clearTimeout(retry); connect().catch(again); } });

connect().catch(again);
