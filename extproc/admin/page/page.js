// The page: asks /live every two seconds while somebody looks, and shows what it says.

import { canaries } from "./canary.js";
import { charts } from "./charts.js";
import { at, colour } from "./dom.js";
import { requests } from "./requests.js";
import { models, tiles } from "./tables.js";
import { duration } from "./text.js";
import { topology } from "./topology.js";

const EVERY = 2000; // milliseconds
const KEPT = 60; // points of the charts
const PATIENCE = 5000;

const drawCharts = charts(at("charts"));
const live = requests(at("requests"), at("tapping"));
let points = [];
let span = 60;
let told = null; // the last answer, and when it came
let timer = 0;

function about(found) {
  const parts = [found.unready || "ready"];
  if (found.generation) parts.push(`policy generation ${found.generation}`);
  if (found.workers !== null) parts.push(`${found.workers} workers`);
  parts.push(`up ${duration(found.now - found.started)}`);
  return parts.join(" · ");
}

function footer(found) {
  const sum = (counts) => Object.entries(counts).map(([reason, count]) => `${reason} ${count}`).join(", ") || "none";
  return `extproc ${found.version} · since start: unrouted: ${sum(found.unmatched)}; errors of the processor: ${sum(found.errors)}`;
}

function show(found) {
  [...found.models].sort((a, b) => b.requests - a.requests).forEach((row) => colour(row.model, row.version));
  at("about").textContent = about(found);
  at("span").textContent = `the last ${duration(found.seconds)}, times in ms`;
  at("tiles").replaceChildren(...tiles(found.total));
  at("models").replaceChildren(models(found.models));
  at("canary-card").hidden = !found.canaries.length;
  at("canaries").replaceChildren(...canaries(found.canaries));
  at("topology").replaceChildren(topology(found.edges, at("topology").clientWidth));
  at("footer").textContent = footer(found);
  const fresh = new Set(found.points.map((point) => point.number));
  points = [...points.filter((point) => !fresh.has(point.number)), ...found.points].slice(-KEPT);
  drawCharts(points, found.step);
}

async function ask() {
  clearTimeout(timer);
  // The newest point was not over yet: it is asked for again.
  const since = points.at(-1)?.number ?? 0;
  try {
    const answer = await fetch(`/live?window=${span}&since=${since}`, { signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    if (told && found.started !== told.found.started && found.workers === null) points = [];
    told = { found, when: Date.now() };
    show(found);
    at("trouble").hidden = true;
  } catch {
    const old = told ? ` What is shown is ${duration((Date.now() - told.when) / 1000)} old.` : "";
    at("trouble").textContent = `The processor does not answer.${old}`;
    at("trouble").hidden = false;
  }
  if (!document.hidden) timer = setTimeout(ask, EVERY);
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.window);
    for (const one of document.querySelectorAll("[data-window]")) one.setAttribute("aria-pressed", String(one === button));
    ask();
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    live.stop();
  } else {
    live.start();
    ask();
  }
});
new ResizeObserver(() => told && at("topology").replaceChildren(topology(told.found.edges, at("topology").clientWidth))).observe(at("topology"));
live.start();
ask();
