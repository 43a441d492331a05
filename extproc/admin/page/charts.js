// Lines over the last minutes, one for each model and version, drawn anew with each answer of the processor.

import { colour } from "./colours.js";
import { el, named, svg } from "./dom.js";
import { duration, ms, rate } from "./text.js";

const CHARTS = [
  { title: "Time to first token", unit: "ms", value: "ttft_p50_ms", high: "ttft_p95_ms", text: ms },
  { title: "Time per output token", unit: "ms", value: "tpot_p50_ms", high: "tpot_p95_ms", text: ms },
  { title: "Duration", unit: "ms", value: "p50_ms", high: "p95_ms", text: ms },
  { title: "Requests", unit: "per second", value: "rps", text: rate },
];
const HEIGHT = 170;
const LEFT = 40;
const RIGHT = 8;
const BOTTOM = 20;
const TOP = 8;
const MAX_LINES = 8;

// The step of an axis with about `count` ticks up to `top`: 1, 2 or 5 times a power of ten.
export function step(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
}

// The busiest lines of all points, in order of their names.
function busiest(points) {
  const weights = new Map();
  for (const point of points) {
    for (const line of point.lines) {
      const key = JSON.stringify([line.model, line.version]);
      weights.set(key, (weights.get(key) ?? 0) + line.requests);
    }
  }
  return [...weights].sort((a, b) => b[1] - a[1]).slice(0, MAX_LINES).map(([key]) => key).sort();
}

function path(points, x, y) {
  let text = "";
  let pen = false;
  for (const [number, value] of points) {
    if (value !== null) text += `${pen ? "L" : "M"}${x(number).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = value !== null;
  }
  return text;
}

function lineOf(points, key, field) {
  const [model, version] = JSON.parse(key);
  return points.map((point) => {
    const line = point.lines.find((one) => one.model === model && one.version === version);
    return [point.number, line ? line[field] : null];
  });
}

function draw(chart, points, secondsPerPoint, span, width) {
  const keys = busiest(points);
  const lines = keys.map((key) => ({ key, low: lineOf(points, key, chart.value), high: chart.high ? lineOf(points, key, chart.high) : [] }));
  const shown = lines.filter((line) => line.low.some(([, value]) => value !== null));
  const values = shown.flatMap((line) => [...line.low, ...line.high]).map(([, value]) => value ?? 0);
  const every = step(Math.max(...values, chart.high ? 1 : 0.1) * 1.05, 4);
  const top = Math.ceil((Math.max(...values, every) * 1.02) / every) * every;
  const last = points.at(-1)?.number ?? 1;
  const first = last - span / secondsPerPoint;
  const x = (number) => LEFT + ((width - LEFT - RIGHT) * (number - first)) / (last - first);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": chart.title });
  for (let tick = 0; tick <= top * 1.001; tick += every) {
    picture.append(svg("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    const label = every < 1 ? tick.toFixed(1) : tick.toFixed(0);
    picture.append(svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, label));
  }
  const gap = [5, 10, 15, 30, 60, 120].find((seconds) => span / seconds <= Math.max(2, width / 90)) ?? 300;
  for (let ago = 0; ago <= span; ago += gap) {
    const place = x(last - ago / secondsPerPoint);
    if (ago && place < LEFT + 14) break;
    const text = ago === 0 ? "now" : ago % 60 ? `−${ago} s` : `−${ago / 60} min`;
    picture.append(svg("text", { x: place, y: HEIGHT - 4, "text-anchor": ago ? "middle" : "end" }, text));
  }
  for (const line of shown) {
    const group = svg("g", { class: colour(...JSON.parse(line.key)), "data-line": line.key });
    if (chart.high) group.append(svg("path", { class: "trace high", d: path(line.high, x, y) }));
    group.append(svg("path", { class: "trace", d: path(line.low, x, y) }));
    const end = line.low.filter(([, value]) => value !== null).at(-1);
    group.append(svg("circle", { class: "dot", r: 3, cx: x(end[0]), cy: y(end[1]) }));
    picture.append(group);
  }
  return { picture, shown, place: (offset) => Math.round(first + ((offset - LEFT) * (last - first)) / (width - LEFT - RIGHT)), x };
}

function legend(chart, shown, number) {
  return shown.map((line) => {
    const valueOf = (list) => (number === null ? list.filter(([, value]) => value !== null).at(-1) : list.find(([one]) => one === number))?.[1] ?? null;
    const text = chart.high ? `${chart.text(valueOf(line.low))} / ${chart.text(valueOf(line.high))}` : chart.text(valueOf(line.low));
    const [model, version] = JSON.parse(line.key);
    return el("li", {}, named(model, version), el("b", {}, text));
  });
}

// Puts the charts into `box`; what it returns draws new points, as many of them as are of the last `wanted` seconds.
export function charts(box) {
  const places = CHARTS.map((chart) => {
    const list = el("ul", { class: "legend" });
    const canvas = el("div", { class: "canvas" });
    const what = chart.high ? `${chart.unit}, p50 and p95 (dotted)` : chart.unit;
    const told = el("span", {});
    const title = el("h2", {}, chart.title, el("small", {}, `${what}, `, told));
    box.append(el("section", { class: "card chart" }, title, list, canvas));
    return { chart, list, canvas, told, hover: null };
  });
  let known = [];
  let seconds = 5;
  let span = 60;
  const render = (place) => {
    const width = Math.max(240, place.canvas.clientWidth);
    const { picture, shown, place: near, x } = draw(place.chart, known, seconds, span, width);
    const numbers = new Set(known.map((point) => point.number));
    const number = place.hover === null ? null : near(place.hover);
    if (number !== null && numbers.has(number)) {
      picture.append(svg("line", { class: "cursor", x1: x(number), x2: x(number), y1: TOP, y2: HEIGHT - BOTTOM }));
      place.list.replaceChildren(...legend(place.chart, shown, number));
    } else {
      place.list.replaceChildren(...legend(place.chart, shown, null));
    }
    place.canvas.replaceChildren(shown.length ? picture : el("p", { class: "empty" }, "Nothing to draw yet."));
  };
  for (const place of places) {
    place.canvas.addEventListener("pointermove", (event) => {
      place.hover = event.clientX - place.canvas.getBoundingClientRect().left;
      render(place);
    });
    place.canvas.addEventListener("pointerleave", () => {
      place.hover = null;
      render(place);
    });
  }
  new ResizeObserver(() => places.forEach(render)).observe(box);
  return (points, secondsPerPoint, wanted) => {
    seconds = secondsPerPoint;
    span = wanted;
    known = points.filter((point) => point.number >= points.at(-1).number - span / seconds);
    for (const { told } of places) told.textContent = `the last ${duration(span)}`;
    places.forEach(render);
  };
}
