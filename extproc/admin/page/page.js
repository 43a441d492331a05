// The page: polls /live every two seconds while it is visible, and shows the document that it gets.

import { breakers } from "./breakers.js";
import { canaries } from "./canary.js";
import { charts } from "./charts.js";
import { colour, nextDrawing } from "./colours.js";
import { at } from "./dom.js";
import { endpoints } from "./endpoints.js";
import { requests } from "./requests.js";
import { rollouts } from "./rollouts.js";
import { models, tiles } from "./tables.js";
import { duration } from "./text.js";
import { topology } from "./topology.js";
import { traces } from "./traces.js";

const POLL_INTERVAL = 2000; // milliseconds
const MAX_POINTS = 60; // of the charts
const TIMEOUT = 5000; // milliseconds

const drawCharts = charts(at("charts"));
const tap = requests(at("requests"), at("tapping"));
const showTraces = traces({ card: at("trace-card"), note: at("traced"), services: at("services"), list: at("traces") });
let points = [];
let span = 60;
let latest = null; // the last document, and when it came
let timer = 0;

function about(doc) {
  const parts = [doc.unready || "ready"];
  if (doc.generation) parts.push(`policy generation ${doc.generation}`);
  if (doc.workers !== null) parts.push(`${doc.workers} workers`);
  parts.push(`up ${duration(doc.now - doc.started)}`);
  return parts.join(" · ");
}

function strayed(count) {
  const who = count === 1 ? "One request has" : `${count} requests have`;
  return `${who} gone elsewhere than decided since the start: a route is not what the policy says (not_as_decided).`;
}

function footer(doc) {
  const sum = (counts) => Object.entries(counts).map(([reason, count]) => `${reason} ${count}`).join(", ") || "none";
  return `extproc ${doc.version} · since start: unrouted: ${sum(doc.unmatched)}; errors of the processor: ${sum(doc.errors)}`;
}

function show(doc) {
  nextDrawing();
  [...doc.models].filter((row) => row.requests).sort((a, b) => b.requests - a.requests).forEach((row) => colour(row.model, row.version));
  at("about").textContent = about(doc);
  for (const one of document.querySelectorAll("[data-span]")) one.textContent = `the last ${duration(doc.seconds)}`;
  at("tiles").replaceChildren(...tiles(doc.total));
  at("models").replaceChildren(models(doc.models));
  at("canary-card").hidden = !doc.canaries.length;
  at("canaries").replaceChildren(...canaries(doc.canaries));
  at("rollout-card").hidden = !doc.rollouts.length;
  at("rollouts").replaceChildren(...rollouts(doc.rollouts));
  at("breaker-card").hidden = !doc.breakers.length;
  at("breakers").replaceChildren(breakers(doc.breakers));
  at("endpoint-card").hidden = !doc.endpoints.length;
  at("endpoints").replaceChildren(...endpoints(doc.endpoints));
  at("topology").replaceChildren(topology(doc.edges, at("topology").clientWidth));
  const elsewhere = doc.errors.not_as_decided ?? 0;
  at("strayed").hidden = !elsewhere;
  at("strayed").textContent = strayed(elsewhere);
  at("footer").textContent = footer(doc);
  const fresh = new Set(doc.points.map((point) => point.number));
  points = [...points.filter((point) => !fresh.has(point.number)), ...doc.points].slice(-MAX_POINTS);
  drawCharts(points, doc.step, span);
}

// What others have told of their spans: where that is not to be had, the rest is shown all the same.
async function pollTraces() {
  const answer = await fetch("/traces", { signal: AbortSignal.timeout(TIMEOUT) }).catch(() => null);
  if (answer?.ok) showTraces(await answer.json());
}

async function poll() {
  clearTimeout(timer);
  // The newest point was not complete: it is requested again.
  const since = points.at(-1)?.number ?? 0;
  try {
    const answer = await fetch(`/live?window=${span}&since=${since}`, { signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const doc = await answer.json();
    if (latest && doc.started !== latest.doc.started && doc.workers === null) points = [];
    latest = { doc, when: Date.now() };
    show(doc);
    at("trouble").hidden = true;
    await pollTraces();
  } catch {
    const old = latest ? ` What is shown is ${duration((Date.now() - latest.when) / 1000)} old.` : "";
    at("trouble").textContent = `The processor does not answer.${old}`;
    at("trouble").hidden = false;
  }
  if (!document.hidden) timer = setTimeout(poll, POLL_INTERVAL);
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.window);
    for (const one of document.querySelectorAll("[data-window]")) one.setAttribute("aria-pressed", String(one === button));
    poll();
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    tap.stop();
  } else {
    tap.start();
    poll();
  }
});
new ResizeObserver(() => latest && at("topology").replaceChildren(topology(latest.doc.edges, at("topology").clientWidth))).observe(at("topology"));
tap.start();
poll();
