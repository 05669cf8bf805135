// Which sessions are shown, and in which order. It knows no elements.

/** The columns: key, label, and whether they hold numbers. */
export const COLUMNS = [
  ["name", "Name", false],
  ["state", "State", false],
  ["broker", "Broker", false],
  ["in", "In/s", true],
  ["out", "Out/s", true],
  ["bytesIn", "Bytes in/s", true],
  ["bytesOut", "Bytes out/s", true],
  ["inFlight", "In flight", true],
  ["waiting", "Queue", true],
  ["reconnects", "Reconnects", true],
  ["error", "Last error", false],
];

export class View {
  words = [];
  states = new Set();
  key = "name";
  down = false;

  search(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
  }

  toggleState(state) {
    if (!this.states.delete(state)) this.states.add(state);
  }

  /** Numbers begin with the largest, texts with the first; the second time it is the other way round. */
  sortBy(key) {
    const numbers = COLUMNS.find(([name]) => name === key)[2];
    this.down = key === this.key ? !this.down : numbers;
    this.key = key;
  }

  /** The sessions to show, in order. */
  apply(sessions) {
    const shown = [];
    for (const session of sessions.values()) {
      const state = this.states.size === 0 || this.states.has(session.state);
      if (state && this.words.every((word) => session.hay.includes(word))) shown.push(session);
    }
    return shown.sort(this.#order());
  }

  #order() {
    const key = this.key === "name" ? "key" : this.key;
    const sign = this.down ? -1 : 1;
    const byName = (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
    if (key === "key") return (a, b) => sign * byName(a, b);
    return (a, b) => {
      const [one, two] = [a[key] ?? "", b[key] ?? ""];
      if (one === two) return byName(a, b);
      // What is empty comes last in both directions.
      if (one === "" || two === "") return one === "" ? 1 : -1;
      return sign * (one < two ? -1 : 1);
    };
  }
}
