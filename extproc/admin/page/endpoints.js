// Endpoints that are picked: for each version their load, and their share of the version's picks.

import { el, folded } from "./dom.js";
import { NOTHING, percent } from "./text.js";

const SHOWN = 16; // of a version, the busiest: what is wrong is there; the others are folded

const whole = (value) => (value === null ? NOTHING : value.toFixed(0));

const COLUMNS = [
  ["Waiting", (row) => whole(row.waiting)],
  ["Running", (row) => whole(row.running)],
  ["KV cache", (row) => percent(row.cache)],
  ["GPU", (row) => percent(row.gpu), "optional"],
  ["In flight", (row) => whole(row.in_flight)],
  ["Picks/min", (row) => whole(row.picks)],
  ["Age", (row) => (row.age === null ? NOTHING : `${row.age.toFixed(1)} s`)],
];

export function endpoints(rows) {
  // GPU utilization comes from exporters, which most do not have here: no column then.
  const columns = COLUMNS.filter(([name]) => name !== "GPU" || rows.some((row) => row.gpu !== null));
  const targets = new Map();
  for (const row of rows) {
    const name = [row.policy, row.version, row.gpu_pool].filter((part) => part !== "none").join(" / ");
    targets.set(name, [...(targets.get(name) ?? []), row]);
  }
  return [...targets].map(([name, mine]) => {
    mine.sort((a, b) => b.picks - a.picks || byName(a, b));
    // By name, so that rows do not change places all the time.
    const [shown, others] = [mine.slice(0, SHOWN), mine.slice(SHOWN)].map((some) => table(some.sort(byName), columns));
    const unknown = mine.filter((row) => row.waiting === null && row.running === null).length;
    const told = [`${mine.length} ${mine.length === 1 ? "endpoint" : "endpoints"}`];
    if (unknown) told.push(mine.length === 1 ? "its load is not known" : `the load of ${unknown} is not known`);
    const { queued } = mine[0]; // of the version, the same in each row
    if (queued) told.push(`${queued} ${queued === 1 ? "request waits" : "requests wait"} here for one with room`);
    return el(
      "div",
      { class: "target", "data-target": name },
      el("h3", {}, name, el("span", { class: unknown ? "warn" : "" }, told.join(", "))),
      shown,
      mine.length > SHOWN ? folded(`endpoints ${name}`, `${mine.length - SHOWN} more`, others) : null,
    );
  });
}

const { compare } = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => compare(a.endpoint, b.endpoint);

function table(rows, columns) {
  const head = el("tr", {}, el("th", { class: "text" }, "Endpoint"), el("th", { class: "text" }, "Share of picks"));
  for (const [name, , extra] of columns) head.append(el("th", { class: extra ?? "" }, name));
  const body = rows.map((row) =>
    el(
      "tr",
      { "data-endpoint": row.endpoint },
      el("td", { class: "text strong name", title: row.adapters.join(", ") }, row.endpoint),
      el("td", { class: "text two", "data-label": "Share of picks" }, share(row.share)),
      ...columns.map(([label, value, extra]) => {
        const text = value(row);
        return el("td", { class: `${extra ?? ""} ${text === NOTHING ? "none" : ""}`, "data-label": label }, text);
      }),
    ),
  );
  return el("table", { class: "rows" }, el("thead", {}, head), el("tbody", {}, ...body));
}

function share(value) {
  const bar = el("progress", { max: "1", value: String(value ?? 0), "aria-hidden": "true" });
  return el("span", { class: "part" }, bar, percent(value));
}
