// Runs before the first paint, so that a chosen theme does not flash. Without a choice the system's is used.
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const apply = (theme) => theme ? root.dataset.theme = theme : delete root.dataset.theme;
  apply(stored());
  const next = { "": "light", light: "dark", dark: "" };
  const words = { "": "system", light: "day", dark: "night" };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-theme-switch]");
    if (!button) return;
    const theme = next[root.dataset.theme ?? ""];
    apply(theme);
    button.title = `${button.ariaLabel}: ${words[theme]}`;
    try { theme ? localStorage.setItem("theme", theme) : localStorage.removeItem("theme"); } catch { /* private mode: lasts as long as the page */ }
  });
})();
