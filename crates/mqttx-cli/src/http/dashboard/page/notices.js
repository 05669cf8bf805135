// Short notices at the edge of the page. Errors stay until they are closed.

import { byId, el } from "./dom.js";

const SHOWN = 5;
const TIME = 5000;

export const notice = (words) => add(words, "done");
export const problem = (words) => add(words, "error");

function add(words, kind) {
  const all = byId("notices");
  const close = el("button", { type: "button", "aria-label": "Close", onclick: () => entry.remove() }, "✕");
  const entry = el("p", { "data-kind": kind }, el("span", {}, words), close);
  all.append(entry);
  // Above an open dialog, too.
  if (all.matches(":popover-open")) all.hidePopover();
  all.showPopover();
  while (all.childElementCount > SHOWN) all.firstElementChild.remove();
  if (kind !== "error") setTimeout(() => entry.remove(), TIME);
}
