// The last fifteen minutes as small graphs, drawn by hand: one line, its area, and what it says now.

import { h, say, set, svg } from "./dom.js";
import { bytes, clock, lag, moment, now, percent, rate } from "./words.js";

const WINDOW = 900; // seconds
const WIDTH = 300;
const HEIGHT = 56;

// `counter`: the samples hold how many there have been, and what is drawn is how many a second.
const KINDS = [
  { name: "cpu", title: "CPU", text: percent, floor: 10 },
  { name: "memory", title: "Memory", text: bytes, floor: 16 * 2 ** 20 },
  { name: "requests", title: "Requests", text: rate, floor: 1, counter: true },
  { name: "errors", title: "Errors", text: rate, floor: 1, counter: true },
  { name: "lag", title: "Loop lag", text: lag, floor: 0.01 },
];

export class Graphs {
  constructor() {
    this.graphs = KINDS.map((kind) => new Graph(kind));
    this.element = h("div", {
      class: "graphs",
      on: { pointermove: (event) => this.point(event), pointerleave: () => this.point(null) },
    });
    this.element.append(...this.graphs.map((graph) => graph.element));
    this.pointed = null;
  }

  update(samples, every) {
    for (const graph of this.graphs) graph.update(samples, every, this.pointed);
  }

  // One place in time under the pointer, told by all of them.
  point(event) {
    const plot = event?.target.closest?.("svg");
    this.pointed = null;
    if (plot) {
      const box = plot.getBoundingClientRect();
      this.pointed = ((event.clientX - box.left) / box.width - 1) * WINDOW;
    }
    for (const graph of this.graphs) graph.tell(this.pointed);
  }
}

class Graph {
  constructor(kind) {
    this.kind = kind;
    this.points = [];
    this.value = h("b", { class: "value" });
    this.note = h("span", { class: "note" });
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    this.cursor = svg("path", { class: "cursor", "vector-effect": "non-scaling-stroke" });
    this.plot = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.area,
      this.line,
      this.cursor,
    );
    this.element = h(
      "figure",
      { class: `graph of-${kind.name}` },
      h("figcaption", {}, h("span", {}, kind.title), this.value, this.note),
      this.plot,
    );
  }

  update(samples, every, pointed) {
    this.points = series(samples, this.kind);
    const end = now();
    const values = this.points.map((point) => point.value);
    const top = nice(Math.max(this.kind.floor, ...values));
    const runs = split(this.points, every * 3).map((run) =>
      run.map(({ time, value }) => [
        round(WIDTH * (1 - (end - time) / WINDOW)),
        round(HEIGHT - 1 - (HEIGHT - 4) * (value / top)),
      ]),
    );
    set(this.line, "d", runs.map((run) => "M" + run.join("L")).join(""));
    set(
      this.area,
      "d",
      runs.map((run) => `M${run[0][0]},${HEIGHT}L${run.join("L")}L${run.at(-1)[0]},${HEIGHT}z`).join(""),
    );
    const { text, title } = this.kind;
    this.most = values.length ? `peak ${text(Math.max(...values))}` : "nothing yet";
    set(
      this.plot,
      "aria-label",
      values.length
        ? `${title} in the last 15 minutes: now ${text(values.at(-1))}, ${this.most}`
        : `${title}: nothing measured yet`,
    );
    this.tell(pointed);
  }

  tell(pointed) {
    const last = this.points.at(-1);
    const at = pointed === null ? null : nearest(this.points, now() + pointed);
    const x = at && round(WIDTH * (1 - (now() - at.time) / WINDOW));
    set(this.cursor, "d", at ? `M${x},0V${HEIGHT}` : null);
    say(this.value, this.kind.text((at ?? last)?.value));
    say(this.note, at ? clock(at.time) : (this.most ?? ""));
  }
}

function series(samples, kind) {
  const points = [];
  const begin = now() - WINDOW;
  let before = null;
  for (const sample of samples) {
    const time = moment(sample.time);
    const raw = sample[kind.name];
    if (!Number.isFinite(raw) || time < begin) continue;
    if (!kind.counter) points.push({ time, value: raw });
    else if (before && time > before.time && raw >= before.raw) {
      points.push({ time, value: (raw - before.raw) / (time - before.time) });
    }
    before = { time, raw };
  }
  return points;
}

// Where nothing was measured there is no line.
function split(points, gap) {
  const runs = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point.time - run.at(-1).time <= gap) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function nearest(points, time) {
  return points.reduce(
    (best, point) => (best && Math.abs(best.time - time) <= Math.abs(point.time - time) ? best : point),
    null,
  );
}

// The next of 1, 2, 5, 10, 20 ...: a scale that does not tremble with every value.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function round(value) {
  return Math.round(value * 10) / 10;
}
