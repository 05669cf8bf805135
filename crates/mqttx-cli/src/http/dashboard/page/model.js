// What the page knows of the daemon. Messages of the stream go in, listeners hear what changed.

const POINTS = 600;
const EVENTS = 500;
const SPAN = 600_000;

/** The states of sessions, in the order in which they are shown. */
export const STATES = ["connected", "connecting", "reconnecting", "stopped"];

export class Model {
  hello = null;
  sessions = new Map();
  forwarders = new Map();
  /** Objects as of {@link point}, the oldest first. */
  points = [];
  /** The newest first. */
  events = [];
  /** All sessions are known. */
  complete = false;
  /** What a new connection brings, until it is complete: so nothing flickers. */
  #coming = null;
  #listeners = [];

  /** `heard(changes)`, where `changes` has the names of what changed. */
  listen(heard) {
    this.#listeners.push(heard);
  }

  take(message) {
    const changes = new Set();
    if (message.hello) {
      this.hello = message.hello;
      this.points = [];
      this.events = [];
      this.#coming = { sessions: new Map(), forwarders: new Map() };
      changes.add("hello").add("points").add("events");
    }
    const into = this.#coming ?? this;
    if (message.sessions) update(into.sessions, message.sessions, session, changes, "sessions");
    if (message.forwarders) update(into.forwarders, message.forwarders, forwarder, changes, "forwarders");
    if (message.points) {
      this.points.push(...message.points.map(point));
      const oldest = this.points.at(-1).at - SPAN;
      while (this.points.length > POINTS || this.points[0].at < oldest) this.points.shift();
      changes.add("points");
    }
    if (message.events) {
      this.events.unshift(...message.events.reverse().map((event) => ({ ...event, at: new Date(event.timestamp) })));
      this.events.length = Math.min(this.events.length, EVENTS);
      changes.add("events");
    }
    if (message.complete && this.#coming) {
      Object.assign(this, this.#coming);
      this.#coming = null;
      this.complete = true;
      changes.add("sessions").add("forwarders");
    }
    for (const heard of this.#listeners) heard(changes);
  }
}

function update(rows, { rows: changed, gone = [], reset = false }, apply, changes, name) {
  if (reset) rows.clear();
  for (const row of changed) rows.set(row.id, apply(rows.get(row.id) ?? { id: row.id }, row));
  for (const id of gone) rows.delete(id);
  changes.add(name);
}

function session(row, { n, ...words }) {
  if (words.name !== undefined) {
    Object.assign(row, words);
    row.key = row.name.toLowerCase();
    row.hay = `${row.name}\n${row.broker}\n${row.status}\n${row.error ?? ""}`.toLowerCase();
  }
  const [received, sent, bytesIn, bytesOut, inFlight, waiting, reconnects, errors] = n;
  return Object.assign(row, {
    in: received / 10, out: sent / 10, bytesIn: bytesIn / 10, bytesOut: bytesOut / 10, inFlight, waiting, reconnects, errors,
  });
}

function forwarder(row, fields) {
  return Object.assign(row, fields, { in: fields.in / 10, out: fields.out / 10 });
}

function point([at, sessions, connected, waiting, inFlight, received, sent, bytesIn, bytesOut, forwarded, lost]) {
  return { at, sessions, connected, waiting, inFlight, in: received, out: sent, bytesIn, bytesOut, forwarded, lost };
}
