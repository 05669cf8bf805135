// Keys for the whole page, unless something is written or asked.

import { showKeys } from "./dialogs.js";
import { byId } from "./dom.js";

const HELP = [
  ["/", "search sessions"],
  ["e", "filter events"],
  ["↑ ↓", "move in the table of sessions"],
  ["Enter", "open the session"],
  ["Esc", "clear the field, close what is open"],
  ["t", "light or dark"],
  ["?", "this list"],
];

export function listenToKeys(changeTheme) {
  const help = () => showKeys(HELP);
  byId("help").addEventListener("click", help);
  const actions = {
    "/": () => byId("search").focus(),
    e: () => byId("log-filter").focus(),
    t: changeTheme,
    "?": help,
  };
  document.addEventListener("keydown", (event) => {
    const written = event.target.matches("input:not([type=checkbox])");
    if (written && event.key === "Escape") {
      event.target.value = "";
      event.target.dispatchEvent(new Event("input"));
      event.target.blur();
    }
    const busy = written || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]");
    if (!busy && event.key in actions) {
      event.preventDefault();
      actions[event.key]();
    }
  });
}
