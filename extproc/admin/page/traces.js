// The latest traces: a list of requests, and the waterfall of one, the newest until the reader chooses another.

import { colour } from "./colours.js";
import { el } from "./dom.js";
import { services } from "./services.js";
import { ms, NOTHING } from "./text.js";

const ROWS = 8; // of the list
const FACTS = [
  ["gen_ai.request.model", "model"],
  ["aimesh.version", "version"],
  ["aimesh.gpu_pool", "pool"],
  ["gen_ai.usage.input_tokens", "input tokens"],
  ["gen_ai.usage.output_tokens", "output tokens"],
];

const colourOf = (service) => colour(service, "of traces");

// What the span of the model tells; the first of the trace that tells an operation.
function model(trace) {
  return trace.bars.find((bar) => bar.attributes["gen_ai.operation.name"])?.attributes ?? {};
}

function entry(trace, chosen, choose) {
  const asked = model(trace)["gen_ai.request.model"] ?? trace.bars[0]?.service ?? NOTHING;
  const time = new Date(trace.began * 1000).toLocaleTimeString([], { hour12: false });
  const button = el(
    "button",
    { type: "button", class: "trace-entry", "aria-pressed": String(chosen), "data-trace": trace.id, title: `trace ${trace.id}` },
    el("span", { class: "what" }, String(asked)),
    el("span", { class: trace.failed ? "bad" : "took" }, `${ms(trace.ms)} ms`),
    el("span", { class: "when" }, `${time} · ${trace.spans} spans`),
  );
  button.addEventListener("click", choose);
  return button;
}

function row(bar, trace) {
  const total = trace.ms || 1;
  const piece = el("span", { class: `piece ${bar.failed ? "bad" : colourOf(bar.service)}` });
  const left = Math.min(99.5, Math.max(0, (100 * bar.start_ms) / total));
  piece.style.left = `${left}%`;
  piece.style.width = `${Math.max(0.4, Math.min(100 - left, (100 * bar.ms) / total))}%`;
  const calls = bar.title.startsWith("→"); // whose call it is, is told by the row above
  const name = el("span", { class: "name" }, calls ? null : el("b", {}, bar.service), calls ? bar.title : ` ${bar.title}`);
  name.style.paddingLeft = `${Math.min(bar.depth, 12) * 0.75}em`;
  const facts = Object.entries(bar.attributes).map(([key, value]) => `${key}: ${value}`).join("\n");
  return el(
    "div",
    { class: "span-row", "data-service": bar.service, "data-depth": bar.depth, title: [`${bar.service} ${bar.title}`, facts].filter(Boolean).join("\n") },
    name,
    el("span", { class: "track" }, piece),
    el("span", { class: "took" }, ms(bar.ms)),
  );
}

function waterfall(trace) {
  const told = model(trace);
  const facts = FACTS.filter(([key]) => told[key] !== undefined).map(([key, label]) => el("li", {}, `${label} `, el("b", {}, String(told[key]))));
  const first = told["aimesh.time_to_first_token"];
  if (first !== undefined) facts.push(el("li", {}, "first token ", el("b", {}, `${ms(first * 1000)} ms`)));
  return el("div", { class: "waterfall", "data-shown": trace.id }, el("ul", { class: "legend" }, ...facts), ...trace.bars.map((bar) => row(bar, trace)));
}

// Draws the documents of /traces into these elements; `card` is hidden while there are none.
export function traces({ card, note, services: picture, list }) {
  const entries = el("div", { class: "trace-list" }); // one element, so that it stays where it was scrolled to
  const below = el("div");
  list.replaceChildren(entries, below);
  let latest = null;
  let chosen = null; // a trace that the reader has chosen stays, also when it has left the document
  const draw = () => {
    // More of its spans may have come.
    if (chosen) chosen = latest.traces.find((trace) => trace.id === chosen.id) ?? chosen;
    const shown = chosen ?? latest.traces[0];
    const choose = (trace) => () => {
      chosen = chosen?.id === trace.id ? null : trace;
      draw();
    };
    note.textContent = `${latest.traces.length} latest of what was sent by OTLP, ${latest.spans} spans; times in ms`;
    picture.replaceChildren(services(latest.edges, picture.clientWidth));
    const focused = entries.contains(document.activeElement) ? document.activeElement.dataset.trace : "";
    entries.replaceChildren(...latest.traces.slice(0, ROWS).map((trace) => entry(trace, trace.id === shown.id, choose(trace))));
    [...entries.children].find((one) => one.dataset.trace === focused)?.focus({ preventScroll: true });
    below.replaceChildren(waterfall(shown));
  };
  new ResizeObserver(() => latest?.traces.length && picture.replaceChildren(services(latest.edges, picture.clientWidth))).observe(picture);
  return (doc) => {
    latest = doc;
    card.hidden = !doc.traces.length;
    if (doc.traces.length) draw();
  };
}
