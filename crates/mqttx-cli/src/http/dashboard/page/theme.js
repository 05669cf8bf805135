// Light, dark, or as the system says.

const KEY = "mqttx-theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => localStorage.getItem(KEY);
const shown = () => chosen() ?? (dark.matches ? "dark" : "light");

/** Makes `button` switch; returns what it does. */
export function themeSwitch(button) {
  const apply = () => {
    if (chosen()) document.documentElement.dataset.theme = chosen();
    else delete document.documentElement.dataset.theme;
    const other = shown() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Switch to the ${other} theme`);
  };
  const change = () => {
    localStorage.setItem(KEY, shown() === "dark" ? "light" : "dark");
    apply();
  };
  button.addEventListener("click", change);
  dark.addEventListener("change", apply);
  apply();
  return change;
}
