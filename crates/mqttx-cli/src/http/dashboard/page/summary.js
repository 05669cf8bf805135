// The card that says how many sessions are in which state.

import { el, set, state, text } from "./dom.js";
import { count } from "./format.js";
import { STATES } from "./model.js";

/** The card, which `model` keeps up to date. */
export function summaryCard(model) {
  const connected = el("b", {}, "–");
  const all = el("span", {}, "connected");
  const bar = el("div", { class: "bar", role: "img" });
  const lines = new Map(STATES.map((name) => [name, {
    part: el("i", { "data-state": name, hidden: true }),
    number: el("span", {}, "0"),
  }]));
  bar.append(...[...lines.values()].map(({ part }) => part));
  const legend = el("div", { class: "legend" },
    ...[...lines].map(([name, { number }]) => el("div", {}, state(name), number)));
  const [waiting, inFlight] = [el("span", {}, "–"), el("span", {}, "–")];
  const more = el("div", { class: "legend more" },
    el("div", {}, el("span", {}, "Messages in outboxes"), waiting),
    el("div", {}, el("span", {}, "In flight in forwarders"), inFlight));
  model.listen((changes) => {
    const last = model.points.at(-1);
    if (last && changes.has("points")) {
      text(waiting, count(last.waiting));
      text(inFlight, count(last.inFlight));
    }
  });
  model.listen((changes) => {
    if (!changes.has("sessions") || !model.complete) return;
    const counts = countStates(model.sessions);
    text(connected, count(counts.get("connected")));
    text(all, `of ${count(model.sessions.size)} connected`);
    for (const [name, { part, number }] of lines) {
      part.hidden = counts.get(name) === 0;
      part.style.flexGrow = counts.get(name);
      text(number, count(counts.get(name)));
    }
    set(bar, "aria-label", STATES.map((name) => `${counts.get(name)} ${name}`).join(", "));
  });
  return el("article", { class: "panel card", id: "card-sessions" },
    el("h3", {}, "Sessions"),
    el("div", { class: "figures" }, el("span", { class: "figure" }, connected, all)),
    el("div", {}, bar, legend, more));
}

/** How many sessions are in each state. */
export function countStates(sessions) {
  const counts = new Map(STATES.map((name) => [name, 0]));
  for (const session of sessions.values()) counts.set(session.state, counts.get(session.state) + 1);
  return counts;
}
