// Questions and answers above the page.

import { byId, el } from "./dom.js";

const dialog = byId("dialog");
const tokenDialog = byId("token-dialog");

/** Asks for the token until there is one, above whatever is asked else. */
export function askToken(wasWrong) {
  return new Promise((answer) => {
    const field = el("input", { type: "password", id: "token", autocomplete: "off", "aria-describedby": "token-hint" });
    const form = el("form", { method: "dialog" },
      el("label", { for: "token" }, "Token"), field,
      el("div", { class: "buttons" }, el("button", { class: "main" }, "Open")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value === "") return;
      tokenDialog.removeEventListener("close", stay);
      tokenDialog.close();
      answer(field.value);
    });
    // A browser closes it with Escape, whoever objects.
    const stay = () => tokenDialog.showModal();
    tokenDialog.addEventListener("close", stay);
    const hint = wasWrong ? "This token is not the daemon's." : "The daemon asks for the token of its section [http].";
    tokenDialog.replaceChildren(el("h2", { id: "token-title" }, "This daemon needs a token"),
      el("p", { id: "token-hint", class: wasWrong ? "error" : "", role: wasWrong ? "alert" : null }, hint), form);
    tokenDialog.showModal();
    field.focus();
  });
}

/** Whether the user wants what `words` say. */
export function confirm(title, words, action) {
  return new Promise((answer) => {
    const done = (yes) => () => {
      dialog.removeEventListener("close", no);
      dialog.close();
      answer(yes);
    };
    const no = done(false);
    dialog.addEventListener("close", no, { once: true });
    const cancel = el("button", { type: "button", onclick: no }, "Cancel");
    show(title, el("p", {}, words),
      el("div", { class: "buttons" }, cancel,
        el("button", { type: "button", class: "danger", id: "confirm", onclick: done(true) }, action)));
    cancel.focus();
  });
}

/** Shows lines, such as the errors of a configuration. */
export function report(title, lines) {
  show(title, el("ol", { class: "report" }, ...lines.map((line) => el("li", {}, line))), closing());
}

export function showKeys(keys) {
  const rows = keys.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]);
  show("Keys", el("dl", { class: "pairs" }, ...rows), closing());
}

function closing() {
  const close = el("button", { type: "button", onclick: () => dialog.close() }, "Close");
  return el("div", { class: "buttons" }, close);
}

function show(title, ...content) {
  dialog.replaceChildren(el("h2", { id: "dialog-title" }, title), ...content);
  if (!dialog.open) dialog.showModal();
}
