// A file may be gigabytes: everything else in its form is looked at first, and stays as it is when that fails. While the
// file is sent the form says how far it is, and can be told to stop.
import { size } from "./words.js";

const form = document.querySelector("form[data-announce]");
const file = form.querySelector("[type=file]");
const fields = form.querySelector("[data-fields]");
const place = form.querySelector("[data-upload]");
const words = place.querySelector("[data-upload-words]");
const meter = place.querySelector("meter");
let sending = null;

function busy(on) {
  form.classList.toggle("htmx-request", on);
  for (const button of form.querySelectorAll("button:not([data-upload-cancel])")) button.disabled = on;
  if (!on) place.hidden = true;
}

// Text that is no fragment is the server's refusal, made before it let the file come.
function refused(text) {
  const said = document.createElement("p");
  said.className = "state bad";
  said.role = "alert";
  said.textContent = text;
  fields.prepend(said);
}

function answered(request) {
  const there = request.getResponseHeader("HX-Redirect");
  if (there) return location.assign(there);
  busy(false);
  if (request.status === 0) htmx.trigger(form, "htmx:sendError");
  else if (!request.getResponseHeader("Content-Type")?.startsWith("text/html")) refused(request.responseText);
  else if (request.getResponseHeader("HX-Retarget")) document.getElementById("toasts").insertAdjacentHTML("beforeend", request.responseText);
  else if (request.status === 400) fields.innerHTML = request.responseText;
  else location.reload();
}

function send() {
  const request = new XMLHttpRequest();
  sending = request;
  request.open("POST", form.action);
  request.setRequestHeader("HX-Request", "true"); // so that the answer says where to go, and is not gone to unseen
  request.upload.onprogress = ({ loaded, total }) => {
    meter.value = total ? loaded / total : 0;
    words.textContent = loaded < total ? words.dataset.words.replace("%(done)s", size(loaded)).replace("%(total)s", size(total)) : words.dataset.sent;
  };
  request.onloadend = () => {
    sending = null;
    answered(request);
  };
  request.onabort = () => { request.onloadend = null; sending = null; busy(false); };
  request.send(new FormData(form));
  meter.value = 0;
  words.textContent = "";
  place.hidden = false;
}

form.addEventListener("submit", async (event) => {
  if (!file.files.length) return;
  event.preventDefault();
  if (sending) return;
  // That the last one succeeded must not stand beside the error of this one.
  document.querySelectorAll("#toasts .toast:not(.error)").forEach((toast) => toast.remove());
  busy(true);
  const announced = new FormData(form);
  announced.set(file.name, file.files[0].name);
  announced.set(`${file.name}_bytes`, file.files[0].size);
  const answer = await fetch(form.action, { method: "POST", body: announced, headers: { Accept: "application/json" } }).catch(() => null);
  if (answer?.status === 204) return send();
  busy(false);
  if (!answer) return htmx.trigger(form, "htmx:sendError");
  if (answer.status !== 400) return location.reload();
  fields.innerHTML = await answer.text();
});
place.querySelector("[data-upload-cancel]").addEventListener("click", () => sending?.abort());
addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
