// One session in detail, with what can be ordered.

import { order } from "./api.js";
import { confirm } from "./dialogs.js";
import { byId, el, state as stateWord } from "./dom.js";
import { bytes, count, rate } from "./format.js";
import { notice, problem } from "./notices.js";

const dialog = byId("detail");

/** Returns what opens the sheet of a session; it stays up to date while it is open. */
export function detailSheet(model) {
  let shown = null;
  const pairs = el("dl", { class: "pairs" });
  const title = el("h2", { id: "detail-title" });
  const act = (verb) => () => perform(shown.name, verb);
  const buttons = el("div", { class: "buttons" },
    el("button", { type: "button", "data-order": "disconnect", class: "danger", onclick: act("disconnect") }, "Disconnect"),
    el("button", { type: "button", "data-order": "reconnect", onclick: act("reconnect") }, "Reconnect"),
    el("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"));
  dialog.append(title, pairs, buttons);
  // A click beside the sheet closes it.
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  const refresh = async () => {
    const { name, id } = shown;
    try {
      const facts = await order("GET", `/api/v1/sessions/${encodeURIComponent(name)}`);
      if (shown.id === id) pairs.replaceChildren(...described(facts, model.sessions.get(id)));
    } catch (error) {
      pairs.replaceChildren(el("dd", { class: "wide error" }, error.message));
    }
  };
  model.listen((changes) => {
    if (dialog.open && changes.has("points")) refresh();
  });
  return (session) => {
    shown = session;
    title.textContent = session.name;
    pairs.replaceChildren();
    if (!dialog.open) dialog.showModal();
    refresh();
  };
}

function described(facts, row) {
  const date = (text) => (text === null ? "never" : new Date(text).toLocaleString());
  const lines = [
    ["State", stateWord(facts.state)],
    ["Ready", ready(facts)],
    ["Broker", facts.broker],
    ["Client id", facts.client_id || "none"],
    ["MQTT", facts.protocol],
    ["Subscriptions", count(facts.subscriptions)],
    ["Received", `${count(facts.messages_received)} (${rate(row?.in ?? 0)}/s), ${bytes(facts.bytes_received)}`],
    ["Sent", `${count(facts.messages_sent)} (${rate(row?.out ?? 0)}/s), ${bytes(facts.bytes_sent)}`],
    ["In flight", count(facts.in_flight)],
    ["Outbox", `${count(facts.outbox_messages)} messages, ${bytes(facts.outbox_bytes)}`],
    ["Reconnects", count(facts.reconnects)],
    ["Errors", count(facts.errors)],
    ["Last message", date(facts.last_message)],
    ["Last error", date(facts.last_error_at)],
  ].flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]);
  if (facts.last_error !== null) lines.push(el("dd", { class: "wide" }, facts.last_error));
  return lines;
}

function ready({ ready, status, refused_filters: refused }) {
  if (!ready) return `no: ${status}`;
  return refused.length === 0 ? "yes" : `no: the server refused ${refused.join(", ")}`;
}

async function perform(name, verb) {
  if (verb === "disconnect") {
    const words = "It sends DISCONNECT and stays away until it is reconnected.";
    if (!(await confirm(`Disconnect ${name}?`, words, "Disconnect"))) return;
  }
  try {
    await order("POST", `/api/v1/sessions/${encodeURIComponent(name)}/${verb}`);
    notice(verb === "disconnect" ? `${name} is disconnected` : `${name} connects again`);
  } catch (error) {
    problem(`${name}: ${verb} failed: ${error.message}`);
  }
}
