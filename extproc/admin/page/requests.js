// The latest requests, told by /tap as they end, for as long as somebody looks.

import { el, named } from "./dom.js";
import { caller, ms, NOTHING } from "./text.js";

const KEPT = 25;
const DRAW = 250; // milliseconds between two drawings
const AGAIN = 2000; // and until it is tried again

const mood = (record) => (record.failed ? "bad" : /^(2|101)/.test(record.code) ? "good" : "warn");

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
    el("td", { class: "text status" }, el("span", { class: `pill ${mood(record)}` }, record.code === "0" ? "left" : record.code)),
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

// Shows them in `box` until it is stopped; `note` says below which words.
export function requests(box, note) {
  const records = [];
  let lost = 0;
  let over = null;
  let drawn = 0;
  const draw = () => {
    drawn = 0;
    box.replaceChildren(table(records));
    note.textContent = lost ? `as they end; ${lost} more came too fast to be shown` : "as they end";
  };
  const take = (line) => {
    if (!line) return;
    const record = JSON.parse(line);
    if (record.lost) lost += record.lost;
    else records.unshift(record);
    records.length = Math.min(records.length, KEPT);
    drawn ||= setTimeout(draw, DRAW);
  };
  const listen = async (signal) => {
    const answer = await fetch("/tap", { signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    while (answer.ok) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      lines.forEach(take);
    }
  };
  const forever = async (signal) => {
    while (!signal.aborted) {
      await listen(signal).catch(() => {});
      await new Promise((next) => setTimeout(next, AGAIN));
    }
  };
  draw();
  return {
    start() {
      if (over) return;
      over = new AbortController();
      forever(over.signal);
    },
    stop() {
      over?.abort();
      over = null;
    },
  };
}
