// The figures at the top, and the golden metrics of each model.

import { el, folded, named } from "./dom.js";
import { health, ms, percent, rate, NOTHING } from "./text.js";

function tile(name, value, unit, more, severity) {
  const shown = value !== NOTHING;
  return el(
    "div",
    { class: "tile", "data-tile": name },
    el("div", { class: "name" }, name),
    el("div", { class: `value ${shown ? (severity ?? "") : "none"}` }, value, shown && unit ? el("span", { class: "unit" }, unit) : null),
    el("div", { class: "more", title: more }, more),
  );
}

// Where not nearly all answers are read, what they tell stands for the others.
function source(observed) {
  return !observed || observed >= 0.95 ? "all answers together" : `by ${percent(observed)} of the answers`;
}

export function tiles(total) {
  const failures = total.requests ? Math.round(total.requests * (1 - total.success)) : 0;
  const failed = failures ? `${failures} failed` : total.refused ? "" : "none failed";
  const outcome = [failed, total.refused ? `${percent(total.refused)} refused` : ""].filter(Boolean).join(", ");
  return [
    tile("Success", percent(total.success), "", total.requests ? outcome : "no requests", health(total.success)),
    tile("Requests", rate(total.rps), "/s", `${total.requests} in all`),
    tile("Duration p95", ms(total.p95_ms), "ms", `p50 ${ms(total.p50_ms)} · p99 ${ms(total.p99_ms)}`),
    tile("First token p95", ms(total.ttft_p95_ms), "ms", `p50 ${ms(total.ttft_p50_ms)}`),
    tile("Per token p50", ms(total.tpot_p50_ms), "ms", `p95 ${ms(total.tpot_p95_ms)}`),
    tile("Output tokens", rate(total.tokens_per_second), "/s", source(total.observed)),
  ];
}

// What the processor refused, by the code of the error.
function reasons(row) {
  return Object.entries(row.refusals).map(([code, count]) => `${code} ${count}`).join(", ");
}

const COLUMNS = [
  ["Pool", "text", (row) => (row.gpu_pool === "none" ? NOTHING : row.gpu_pool), "two"],
  ["Requests", "", (row) => String(row.requests), "optional"],
  ["Success", (row) => `strong ${health(row.success)}`, (row) => percent(row.success)],
  ["Refused", (row) => (row.refused ? "warn" : ""), (row) => (row.refused ? percent(row.refused) : NOTHING), "", reasons],
  ["RPS", "", (row) => rate(row.rps)],
  ["P50", "", (row) => ms(row.p50_ms)],
  ["P95", "", (row) => ms(row.p95_ms)],
  ["P99", "", (row) => ms(row.p99_ms)],
  ["TTFT p50", "", (row) => ms(row.ttft_p50_ms)],
  ["TTFT p95", "", (row) => ms(row.ttft_p95_ms)],
  ["TPOT p50", "", (row) => ms(row.tpot_p50_ms), "optional"],
  ["Tokens/s", "", (row) => rate(row.tokens_per_second)],
];

// Those with most requests first, those with none folded.
export function models(rows) {
  const busy = rows.filter((row) => row.requests).sort((a, b) => b.requests - a.requests);
  const idle = rows.filter((row) => !row.requests);
  const shown = busy.length ? table(busy) : el("p", { class: "empty" }, "No requests in this time.");
  return el("div", {}, shown, idle.length ? folded("models", `${idle.length} without requests`, table(idle)) : null);
}

// What was refused has a column where something was.
function table(rows) {
  const columns = COLUMNS.filter(([name]) => name !== "Refused" || rows.some((row) => row.refused));
  const head = el("tr", {}, el("th", { class: "text" }, "Model"));
  for (const [name, kind, , extra] of columns) {
    head.append(el("th", { class: `${kind === "text" ? "text" : ""} ${extra ?? ""}` }, name));
  }
  const body = rows.map((row) => {
    const name = el("td", { class: "text strong name" }, row.requests ? named(row.model, row.version) : named(row.model, row.version, "", ""));
    const cells = columns.map(([label, kind, value, extra, title]) => {
      const severity = typeof kind === "function" ? kind(row) : kind;
      const text = value(row);
      return el("td", { class: `${severity} ${extra ?? ""} ${text === NOTHING ? "none" : ""}`, "data-label": label, title: title?.(row) }, text);
    });
    return el("tr", { "data-row": JSON.stringify([row.model, row.version, row.gpu_pool]) }, name, ...cells);
  });
  return el("table", { class: "rows" }, el("thead", {}, head), el("tbody", {}, ...body));
}
