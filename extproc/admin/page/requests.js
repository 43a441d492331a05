// The latest requests, from /tap as they end, while the page is visible.

import { el, named } from "./dom.js";
import { caller, ms, NOTHING } from "./text.js";

const MAX_ROWS = 25;
const DRAW_INTERVAL = 250; // milliseconds
const RETRY_INTERVAL = 2000; // milliseconds until the next attempt to tap

const severity = (record) => (record.failed ? "bad" : /^(2|101)/.test(record.code) ? "good" : "warn");

function row(record) {
  const asked = record.model === "other" ? record.asked : "";
  const name = el("td", { class: "text name" }, named(record.model, record.version, asked));
  const time = new Date(record.time).toLocaleTimeString([], { hour12: false });
  const tokens = record.output_tokens === null ? NOTHING : `${record.input_tokens ?? NOTHING} → ${record.output_tokens}`;
  const what = record.error ? `${record.api} · ${record.error.replaceAll("_", " ")}` : [record.api, record.operation].filter(Boolean).join(" · ");
  const cell = (kind, value) => el("td", { class: `${kind} ${value === NOTHING ? "none" : ""}` }, value);
  return el(
    "tr",
    {},
    name,
    el("td", { class: "text status" }, el("span", { class: `pill ${severity(record)}` }, record.code === "0" ? "left" : record.code)),
    cell("text when", time),
    cell("text cut what optional", what || NOTHING),
    cell("text cut spare", record.gpu_pool === "none" ? NOTHING : record.gpu_pool),
    cell("text cut from", record.caller ? caller(record.caller) : NOTHING),
    cell("text optional spare", record.cohort || NOTHING),
    cell("took", ms(record.ms)),
    cell("spare", ms(record.ttft_ms)),
    cell("spare", tokens),
  );
}

function table(records) {
  if (!records.length) return el("p", { class: "empty" }, "Waiting for the next request …");
  const head = el("tr", {}, el("th", { class: "text" }, "Model"));
  for (const name of ["Status", "Time", "API", "Pool", "Caller", "Chosen by"]) {
    const extra = { API: " optional", "Chosen by": " optional" }[name] ?? "";
    head.append(el("th", { class: `text${extra}` }, name));
  }
  for (const name of ["ms", "TTFT", "Tokens"]) head.append(el("th", {}, name));
  return el("table", { class: "rows request" }, el("thead", {}, head), el("tbody", {}, ...records.map(row)));
}

// Shows them in `box` until it is stopped; `note` gets a line about what is shown.
export function requests(box, note) {
  const records = [];
  let lost = 0;
  let abort = null;
  let drawn = 0;
  const draw = () => {
    drawn = 0;
    box.replaceChildren(table(records));
    note.textContent = lost ? `as they end; ${lost} more came too fast to be shown` : "as they end";
  };
  const add = (line) => {
    if (!line) return;
    const record = JSON.parse(line);
    if (record.lost) lost += record.lost;
    else records.unshift(record);
    records.length = Math.min(records.length, MAX_ROWS);
    drawn ||= setTimeout(draw, DRAW_INTERVAL);
  };
  const read = async (signal) => {
    const answer = await fetch("/tap", { signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    while (answer.ok) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      lines.forEach(add);
    }
  };
  const readForever = async (signal) => {
    while (!signal.aborted) {
      await read(signal).catch(() => {});
      await new Promise((next) => setTimeout(next, RETRY_INTERVAL));
    }
  };
  draw();
  return {
    start() {
      if (abort) return;
      abort = new AbortController();
      readForever(abort.signal);
    },
    stop() {
      abort?.abort();
      abort = null;
    },
  };
}
