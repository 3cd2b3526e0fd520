// Toasts, dialogs, and what the htmx fragments need around them.
const STAYS_MS = 6000;

// A toast about a failure stays until it is closed; others go.
function settle(toast) {
  if (!toast.classList.contains("error")) setTimeout(() => toast.remove(), STAYS_MS);
}

document.querySelectorAll("#toasts .toast").forEach(settle);
new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => node.matches?.(".toast") && settle(node))))
  .observe(document.getElementById("toasts"), { childList: true });

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-close]")) event.target.closest(".toast").remove();
  const cancel = event.target.closest("dialog [data-cancel]");
  if (cancel) {
    event.preventDefault();
    cancel.closest("dialog").close();
  }
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "dialog") return;
  const dialog = event.target.querySelector("dialog");
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
});

// Without an answer there is no fragment that could say so.
document.addEventListener("htmx:sendError", () => {
  const toast = document.createElement("div");
  toast.className = "toast error";
  toast.textContent = "Wharfie does not answer. Your click did nothing; try again when it is back.";
  document.getElementById("toasts").append(toast);
});
