// Circuit breakers: how many requests each version may have at a time, how many it has, and whether it gets any.

import { el } from "./dom.js";

const SEVERITY = { ejected: "bad", probing: "bad", draining: "warn", closed: "good" };
const WORST = ["ejected", "probing", "draining", "closed"];

const NAMED = 3; // of the ejected endpoints; the others are counted

function without(state, endpoints) {
  if (!endpoints.length) return state;
  const more = endpoints.length > NAMED ? ` and ${endpoints.length - NAMED} more` : "";
  return `${state}, without ${endpoints.slice(0, NAMED).join(", ")}${more}`;
}

export function breakers(list) {
  const rows = list.map((breaker) => {
    const state = WORST.find((one) => breaker.states.includes(one)) ?? "closed";
    const target = [breaker.policy, breaker.version, breaker.gpu_pool].filter(Boolean).join(" / ");
    return el(
      "tr",
      { "data-breaker": target },
      el("td", { class: "text name" }, target),
      el(
        "td",
        { class: `text strong wraps ${SEVERITY[state]}`, "data-label": "State", title: breaker.ejected.join(", ") },
        without(state, breaker.ejected),
      ),
      el("td", { "data-label": "In flight" }, String(Math.round(breaker.in_flight))),
      el("td", { "data-label": "Limit" }, String(breaker.limit)),
    );
  });
  const text = ["Version", "State"].map((name) => el("th", { class: "text" }, name));
  const head = [...text, ...["In flight", "Limit"].map((name) => el("th", {}, name))];
  return el("table", { class: "rows" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}
