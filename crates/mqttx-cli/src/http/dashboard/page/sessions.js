// The table of sessions. Only the rows that are seen are elements: a few dozen, however many sessions there are.

import { byId, el, once, set, state as stateWord, text } from "./dom.js";
import { bytes, count, rate } from "./format.js";
import { STATES } from "./model.js";
import { countStates } from "./summary.js";
import { COLUMNS, View } from "./view.js";

/** Rows beyond the edges, so that scrolling shows no gap. */
const BEYOND = 6;

const SHOW = {
  name: (s) => s.name,
  state: (s) => s.state,
  broker: (s) => s.broker,
  in: (s) => rate(s.in),
  out: (s) => rate(s.out),
  bytesIn: (s) => bytes(s.bytesIn),
  bytesOut: (s) => bytes(s.bytesOut),
  inFlight: (s) => count(s.inFlight),
  waiting: (s) => count(s.waiting),
  reconnects: (s) => count(s.reconnects),
  error: (s) => s.error ?? "",
};

/** Shows the table; `open(session)` when one is chosen. */
export function showSessions(model, open) {
  const table = new Table(model, open);
  model.listen((changes) => {
    if (changes.has("sessions") || changes.has("hello")) table.changed();
  });
  return table;
}

class Table {
  #view = new View();
  #shown = [];
  /** The id of the row that the keys move. */
  #active = null;
  #pool = [];
  #rowHeight = 40;
  #arrange;
  #draw;

  constructor(model, open) {
    this.model = model;
    this.open = open;
    this.head = el("div", { class: "grid-row grid-head", id: "sessions-head", role: "row", "aria-rowindex": 1 }, ...COLUMNS.map((column) => this.#header(column)));
    this.space = el("div", { class: "grid-space", role: "rowgroup" });
    this.body = el("div", { class: "grid-body", role: "grid", tabindex: 0, "aria-label": "Sessions", "aria-owns": "sessions-head" }, this.space);
    this.empty = el("p", { class: "empty" }, "Waiting for the daemon");
    this.panel = byId("sessions");
    this.panel.append(this.head, this.body, this.empty);
    this.#arrange = once(() => this.#arranged());
    this.#draw = once(() => this.#drawn());
    this.body.addEventListener("scroll", this.#draw, { passive: true });
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.space.addEventListener("click", ({ target }) => this.#click(target));
    byId("search").addEventListener("input", ({ target }) => this.search(target.value));
    new ResizeObserver(() => this.#measure()).observe(this.panel);
    this.#chips();
    this.#measure();
  }

  changed() {
    this.#arrange();
  }

  search(words) {
    this.#view.search(words);
    this.body.scrollTop = 0;
    this.#arrange();
  }

  #header([key, label, numbers]) {
    const sort = () => {
      this.#view.sortBy(key);
      this.#arrange();
    };
    const button = el("button", { type: "button", title: `Sort by ${label.toLowerCase()}`, onclick: sort }, label);
    return el("div", { class: `cell-${key}${numbers ? " number" : ""}`, role: "columnheader", "data-key": key }, button);
  }

  #chips() {
    this.chips = new Map(STATES.map((state) => {
      const toggle = () => {
        this.#view.toggleState(state);
        this.#arrange();
      };
      return [state, el("button", { type: "button", "data-state": state, "aria-pressed": "false", onclick: toggle }, state)];
    }));
    byId("states").append(...this.chips.values());
  }

  #measure() {
    const height = parseInt(getComputedStyle(this.panel).getPropertyValue("--row"), 10);
    this.#rowHeight = height || this.#rowHeight;
    this.#arrange();
  }

  /** Chooses and sorts anew. */
  #arranged() {
    const { sessions, complete } = this.model;
    this.#shown = this.#view.apply(sessions);
    const counts = countStates(sessions);
    for (const [state, chip] of this.chips) {
      set(chip, "aria-pressed", String(this.#view.states.has(state)));
      text(chip, `${state} ${count(counts.get(state))}`);
    }
    for (const header of this.head.children) {
      const sorted = header.dataset.key === this.#view.key;
      set(header, "aria-sort", sorted ? (this.#view.down ? "descending" : "ascending") : null);
    }
    const [shown, all] = [this.#shown.length, sessions.size];
    text(byId("sessions-count"), shown === all ? count(all) : `${count(shown)} of ${count(all)}`);
    this.empty.hidden = shown > 0;
    text(this.empty, !complete ? "Waiting for the daemon" : all === 0 ? "This daemon has no sessions." : "No session matches.");
    this.body.hidden = shown === 0;
    set(this.body, "aria-rowcount", shown + 1);
    this.space.style.height = `${shown * this.#rowHeight}px`;
    this.#drawn();
  }

  /** Puts the rows that are seen in their places. */
  #drawn() {
    const height = this.#rowHeight;
    const first = Math.max(0, Math.floor(this.body.scrollTop / height) - BEYOND);
    const seen = Math.ceil(this.body.clientHeight / height) + 2 * BEYOND;
    const rows = this.#shown.slice(first, first + seen);
    while (this.#pool.length < rows.length) this.#pool.push(this.#row());
    this.#pool.splice(rows.length).forEach(({ node }) => node.remove());
    rows.forEach((session, n) => this.#fill(this.#pool[n], session, first + n));
    const active = rows.some((session) => session.id === this.#active);
    set(this.body, "aria-activedescendant", active ? `row-${this.#active}` : null);
  }

  #row() {
    const cells = COLUMNS.map(([key, , numbers]) => {
      const node = el("div", { class: `cell-${key}${numbers ? " number" : ""}`, role: "gridcell" });
      const inner = key === "state" ? stateWord("") : node;
      if (inner !== node) node.append(inner);
      return { key, node, inner, numbers };
    });
    const node = el("div", { class: "grid-row", role: "row" }, ...cells.map((cell) => cell.node));
    this.space.append(node);
    return { node, cells };
  }

  #fill({ node, cells }, session, index) {
    set(node, "id", `row-${session.id}`);
    set(node, "data-name", session.name);
    set(node, "aria-rowindex", index + 2);
    set(node, "aria-selected", String(session.id === this.#active));
    set(node, "data-failed", session.error !== null && session.state !== "connected");
    node.style.transform = `translateY(${index * this.#rowHeight}px)`;
    for (const { key, node: cell, inner, numbers } of cells) {
      text(inner, SHOW[key](session));
      if (numbers) set(cell, "data-zero", session[key] === 0);
      if (key === "state") set(inner, "data-state", session.state);
      if (key === "name" || key === "broker" || key === "error") set(cell, "title", session[key]);
    }
  }

  #click(target) {
    const row = target.closest(".grid-row");
    const session = this.#shown.find(({ id }) => row?.id === `row-${id}`);
    if (!session) return;
    this.#active = session.id;
    this.#drawn();
    this.open(session);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.body.clientHeight / this.#rowHeight) - 1);
    const last = this.#shown.length - 1;
    const now = this.#shown.findIndex(({ id }) => id === this.#active);
    const moves = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: last };
    if (event.key === "Enter" && now >= 0) {
      event.preventDefault();
      this.open(this.#shown[now]);
    } else if (event.key in moves) {
      event.preventDefault();
      this.#move(Math.min(Math.max(moves[event.key], 0), last));
    }
  }

  #move(index) {
    this.#active = this.#shown[index]?.id ?? null;
    const [top, height] = [index * this.#rowHeight, this.body.clientHeight];
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    if (top + this.#rowHeight > this.body.scrollTop + height) this.body.scrollTop = top + this.#rowHeight - height;
    this.#drawn();
  }
}
