// The last events, the newest first.

import { byId, el, once, text } from "./dom.js";
import { time } from "./format.js";

/** Entries that are drawn; the filter finds older ones. */
const DRAWN = 150;

const BAD = new Set([
  "session_disconnected", "session_lost", "subscription_refused", "message_dropped", "message_refused", "message_unrouted",
  "handler_failed", "forwarder_message_dropped", "store_error", "store_unavailable", "store_full", "events_lagged",
]);
const GOOD = new Set(["session_connected", "session_ready", "forwarder_started", "store_available"]);

export function showLog(model) {
  const [list, total] = [byId("log"), byId("log-count")];
  const [filter, problems] = [byId("log-filter"), byId("log-problems")];
  const draw = once(() => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (event) => {
      event.text ??= told(event.data);
      event.hay ??= `${event.type} ${about(event)} ${event.text}`.toLowerCase();
      return (!problems.checked || isBad(event)) && words.every((word) => event.hay.includes(word));
    };
    const shown = model.events.filter(fits);
    text(total, shown.length === model.events.length ? shown.length : `${shown.length} of ${model.events.length}`);
    const entries = shown.slice(0, DRAWN).map((event) => (event.node ??= entry(event)));
    const same = entries.length === list.childElementCount && entries.every((node, n) => node === list.children[n]);
    if (entries.length === 0) list.replaceChildren(el("li", { class: "empty" }, "No events."));
    else if (!same) list.replaceChildren(...entries);
  });
  filter.addEventListener("input", draw);
  problems.addEventListener("change", draw);
  model.listen((changes) => {
    if (changes.has("events")) draw();
  });
}

const isBad = (event) =>
  BAD.has(event.type) && !(event.type === "store_full" && event.data.full === false)
  && !(event.type === "session_disconnected" && event.data.error === null && event.data.reason === null);

const about = (event) => event.session ?? event.data.forwarder ?? "";

function entry(event) {
  const tone = isBad(event) ? "bad" : GOOD.has(event.type) ? "good" : null;
  return el("li", { "data-type": event.type, "data-tone": tone },
    el("time", { datetime: event.timestamp, title: event.timestamp }, time(event.at)),
    el("span", { class: "kind" }, event.type.replaceAll("_", " ")),
    el("span", { class: "about", title: about(event) }, about(event)),
    el("span", { class: "text" }, event.text));
}

/** The data in words: what is empty is left out. */
function told(data) {
  const value = (v) => (v !== null && typeof v === "object" ? Object.values(v).join(" ") : String(v));
  return Object.entries(data)
    .filter(([key, v]) => v !== null && v !== "" && key !== "forwarder")
    .map(([key, v]) => `${key.replaceAll("_", " ")}: ${value(v)}`)
    .join(" · ");
}
