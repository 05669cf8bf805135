// Forwarders as flows from their sources to their targets.

import { order } from "./api.js";
import { confirm } from "./dialogs.js";
import { byId, el, once, set, svg, text } from "./dom.js";
import { count, duration, rate } from "./format.js";
import { notice, problem } from "./notices.js";

/** Drawn at once; a button shows more. */
const SHOWN = 30;
const ROW = 34;

const STATS = [
  ["in", "In per second", (f) => rate(f.in)],
  ["out", "Out per second", (f) => rate(f.out)],
  ["inFlight", "In flight", (f) => count(f.in_flight)],
  ["lag", "Lag", (f) => duration(f.lag_ms), (f) => (f.lag_ms >= 1000 ? "wait" : null)],
  ["forwarded", "Forwarded", (f) => count(f.forwarded)],
  ["filtered", "Filtered", (f) => count(f.filtered)],
  ["dropped", "Dropped", (f) => count(f.dropped), (f) => (f.dropped > 0 ? "bad" : null)],
  ["dead", "Dead letters", (f) => count(f.dead_lettered), (f) => (f.dead_lettered > 0 ? "bad" : null)],
];

export function showFlows(model) {
  const [place, total] = [byId("flows"), byId("flows-count")];
  const drawn = new Map();
  let limit = SHOWN;
  const more = el("button", { type: "button", onclick: () => { limit += SHOWN; draw(); } });
  const empty = el("p", { class: "panel empty" }, "This daemon has no forwarders.");
  const draw = once(() => {
    if (!model.complete) return;
    const all = [...model.forwarders.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const shown = all.slice(0, limit);
    const states = new Map([...model.sessions.values()].map((session) => [session.name, session.state]));
    for (const [id, flow] of drawn) {
      if (!shown.some((forwarder) => forwarder.id === id)) {
        flow.node.remove();
        drawn.delete(id);
      }
    }
    shown.forEach((forwarder, n) => {
      if (!drawn.has(forwarder.id)) drawn.set(forwarder.id, new Flow(forwarder));
      const flow = drawn.get(forwarder.id);
      flow.update(forwarder, states);
      if (place.children[n] !== flow.node) place.insertBefore(flow.node, place.children[n] ?? null);
    });
    text(total, all.length);
    text(more, `Show ${Math.min(SHOWN, all.length - limit)} more of ${all.length}`);
    toggle(place, more, all.length > limit);
    toggle(place, empty, all.length === 0);
  });
  model.listen((changes) => {
    if (changes.has("forwarders") || changes.has("sessions")) draw();
  });
}

function toggle(place, node, wanted) {
  if (!wanted) node.remove();
  else if (place.lastElementChild !== node) place.append(node);
}

/** One forwarder on the page. */
class Flow {
  #ends = "";

  constructor({ name }) {
    const act = (verb) => () => this.#act(verb);
    this.name = name;
    this.stateWord = el("span", { class: "state", role: "status" });
    this.pause = el("button", { type: "button", "data-order": "pause", "aria-label": `Pause ${name}`, onclick: act("pause") }, "Pause");
    this.resume = el("button", { type: "button", "data-order": "resume", "aria-label": `Resume ${name}`, onclick: act("resume") }, "Resume");
    this.drain = el("button", { type: "button", "data-order": "drain", "aria-label": `Drain ${name}`, onclick: act("drain") }, "Drain");
    this.stats = STATS.map(([key, label]) => {
      const value = el("dd", {});
      return { value, node: el("div", { "data-stat": key }, el("dt", {}, label), value) };
    });
    [this.from, this.to] = ["from", "to"].map((side) => el("div", { class: `ends ${side}` }));
    [this.left, this.right] = [0, 1].map(() => svg("svg", { class: "wires", preserveAspectRatio: "none", "aria-hidden": "true" }));
    const buttons = el("div", { class: "buttons" }, this.pause, this.resume, this.drain);
    this.node = el("article", { class: "panel flow", "data-forwarder": name, "aria-label": `Forwarder ${name}` },
      this.from, this.left,
      el("div", { class: "node" },
        el("header", {}, el("h3", {}, name), this.stateWord, buttons),
        el("dl", { class: "stats" }, ...this.stats.map(({ node }) => node))),
      this.right, this.to);
  }

  update(forwarder, states) {
    set(this.node, "data-state", forwarder.state);
    set(this.stateWord, "data-state", forwarder.state);
    text(this.stateWord, forwarder.state);
    this.pause.hidden = forwarder.state !== "running";
    this.resume.hidden = forwarder.state === "running";
    this.drain.hidden = forwarder.state === "stopped";
    STATS.forEach(([, , show, tone], n) => {
      const { value, node } = this.stats[n];
      text(value, show(forwarder));
      set(node, "data-tone", tone?.(forwarder) ?? null);
    });
    const reasons = Object.entries(forwarder.reasons).map(([reason, n]) => `${reason}: ${n}`);
    set(this.stats[6].node, "title", reasons.join("\n") || null);
    this.#drawEnds(forwarder, states);
    wires(this.left, this.from.childElementCount, forwarder.in, "left");
    wires(this.right, this.to.childElementCount, forwarder.out, "right");
  }

  #drawEnds({ from, more_from, to, more_to }, states) {
    // Only when something else is to be seen.
    const ends = JSON.stringify([from, more_from, to, more_to, from.map((n) => states.get(n)), to.map((n) => states.get(n))]);
    if (ends === this.#ends) return;
    this.#ends = ends;
    const end = (name) => {
      const state = states.get(name) ?? null;
      return el("div", { class: "end" }, el("span", { "data-state": state, title: `${name}: ${state ?? "unknown"}` }, name));
    };
    const rest = (n) => (n > 0 ? [el("div", { class: "end" }, el("span", { class: "more" }, `and ${count(n)} more`))] : []);
    this.from.replaceChildren(...from.map(end), ...rest(more_from));
    this.to.replaceChildren(...to.map(end), ...rest(more_to));
  }

  async #act(verb) {
    if (verb === "drain") {
      const words = "It unsubscribes, forwards what has arrived, and then stays stopped until it is resumed.";
      if (!(await confirm(`Drain ${this.name}?`, words, "Drain"))) return;
    }
    const buttons = [this.pause, this.resume, this.drain];
    buttons.forEach((button) => { button.disabled = true; });
    try {
      const { state } = await order("POST", `/api/v1/forwarders/${encodeURIComponent(this.name)}/${verb}`);
      notice(`${this.name} is ${state}`);
    } catch (error) {
      problem(`${this.name}: ${verb} failed: ${error.message}`);
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  }
}

/** Curves from `ends` rows to the middle, or from it; as thick as the rate is high, and moving when something moves. */
function wires(drawing, ends, perSecond, side) {
  const height = ends * ROW;
  set(drawing, "viewBox", `0 0 100 ${height}`);
  set(drawing, "height", height);
  while (drawing.childElementCount > ends) drawing.lastElementChild.remove();
  while (drawing.childElementCount < ends) {
    drawing.append(svg("g", {}, svg("path", { class: "pipe" }), svg("path", { class: "drops" })));
  }
  const width = 2 + Math.min(1.4 * Math.log10(1 + perSecond), 7);
  [...drawing.children].forEach((wire, n) => {
    const [end, middle] = [n * ROW + ROW / 2, height / 2];
    const [a, b] = side === "left" ? [end, middle] : [middle, end];
    const [pipe, drops] = wire.children;
    for (const path of [pipe, drops]) set(path, "d", `M3 ${a}C45 ${a} 55 ${b} 97 ${b}`);
    set(pipe, "stroke-width", width.toFixed(1));
    set(drops, "stroke-width", (width * 0.55).toFixed(1));
    drops.classList.toggle("moves", perSecond > 0);
  });
}
