// The cards with rates over the last ten minutes.

import { el, once, set, svg, text } from "./dom.js";
import { bytes, rate, time } from "./format.js";

const SPAN = 600_000;
const [WIDTH, HEIGHT] = [600, 92];

const CARDS = [
  { id: "messages", title: "Messages per second", show: rate, lines: [["in", "received"], ["out", "sent"]] },
  { id: "bytes", title: "Bytes per second", show: bytes, unit: 1024, lines: [["bytesIn", "received"], ["bytesOut", "sent"]] },
  { id: "forwarded", title: "Forwarded per second", show: rate, lines: [["forwarded", "forwarded"], ["lost", "dropped or dead letter", "bad"]] },
];

/** The cards, which `model` keeps up to date. */
export const chartCards = (model) => CARDS.map((card) => chartCard(model, card));

function chartCard(model, { id, title, show, unit = 1000, lines }) {
  const figures = lines.map(([, name, tone], n) => {
    const value = el("b", {}, "–");
    return { value, node: el("span", { class: "figure", "data-line": n, "data-tone": tone }, value, el("span", {}, name)) };
  });
  const paths = lines.map(([, , tone], n) => svg("g", { "data-line": n, "data-tone": tone },
    svg("path", { class: "area" }), svg("path", { class: "line" })));
  const cursor = svg("path", { class: "cursor", visibility: "hidden" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    svg("path", { class: "grid", d: `M0 ${HEIGHT}H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 0H${WIDTH}` }), ...paths, cursor);
  const top = el("span", { class: "top-value" });
  const middle = el("span", {}, "5 min ago");
  const chart = el("div", { class: "chart" }, drawing, top);
  let pointed = null;

  const draw = once(() => {
    const points = model.points;
    const last = points.at(-1);
    if (!last) return;
    const most = ceiling(Math.max(...points.flatMap((point) => lines.map(([key]) => point[key]))), unit);
    const x = (point) => WIDTH - ((last.at - point.at) / SPAN) * WIDTH;
    const y = (value) => HEIGHT - (value / most) * HEIGHT;
    lines.forEach(([key], n) => {
      const d = points.map((point, i) => `${i ? "L" : "M"}${x(point).toFixed(1)} ${y(point[key]).toFixed(1)}`).join("");
      const [area, line] = paths[n].children;
      set(line, "d", d);
      set(area, "d", `${d}L${x(last)} ${HEIGHT}L${x(points[0]).toFixed(1)} ${HEIGHT}Z`);
    });
    const chosen = pointed === null ? last : nearest(points, last.at - (1 - pointed) * SPAN);
    figures.forEach(({ value }, n) => text(value, show(chosen[lines[n][0]])));
    set(cursor, "visibility", pointed === null ? "hidden" : "visible");
    set(cursor, "d", `M${x(chosen).toFixed(1)} 0V${HEIGHT}`);
    text(top, show(most));
    text(middle, pointed === null ? "5 min ago" : `at ${time(new Date(chosen.at))}`);
    set(drawing, "aria-label", `${title}: ${lines.map(([key, name]) => `${show(last[key])} ${name}`).join(", ")}`);
  });
  const point = (place) => {
    pointed = place;
    draw();
  };
  chart.addEventListener("pointermove", ({ clientX }) => {
    const { left, width } = chart.getBoundingClientRect();
    point(Math.min(Math.max((clientX - left) / width, 0), 1));
  });
  chart.addEventListener("pointerleave", () => point(null));
  model.listen((changes) => {
    if (changes.has("points")) draw();
  });
  return el("article", { class: "panel card", id: `card-${id}` },
    el("h3", {}, title),
    el("div", { class: "figures" }, ...figures.map(({ node }) => node)),
    el("div", {}, chart, el("div", { class: "times" }, el("span", {}, "10 min ago"), middle, el("span", {}, "now"))));
}

/** The next value that is 1, 2 or 5, tens or hundreds of them, in units of which each is `unit` of the one before. */
function ceiling(value, unit) {
  let one = 1;
  while (value > one * unit) one *= unit;
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  return one * (steps.find((step) => value <= step * one) ?? unit);
}

const nearest = (points, at) =>
  points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
