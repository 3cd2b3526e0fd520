// Runs before the first paint, so that a chosen theme does not flash. Without a choice the system's is used.
(() => {
  const root = document.documentElement;
  root.classList.add("scripts");
  const stored = () => { try { return localStorage.getItem("theme") ?? ""; } catch { return ""; } };
  const apply = (theme) => {
    theme ? root.dataset.theme = theme : delete root.dataset.theme;
    for (const button of document.querySelectorAll("[data-theme-set]")) button.ariaPressed = button.dataset.themeSet === theme;
  };
  apply(stored());
  document.addEventListener("DOMContentLoaded", () => apply(stored()));
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-set]");
    if (!button) return;
    const theme = button.dataset.themeSet;
    apply(theme);
    try { theme ? localStorage.setItem("theme", theme) : localStorage.removeItem("theme"); } catch { /* private mode: lasts as long as the page */ }
  });
})();
