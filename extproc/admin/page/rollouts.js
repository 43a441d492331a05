// Rollouts: where each is, what its guards have seen in the present step, and why it moved.

import { el, svg } from "./dom.js";
import { NOTHING, duration, percent } from "./text.js";

const WIDTH = 120; // pixels, here and below
const HEIGHT = 22;
const MOVES = 6; // the last ones
const SEVERITY = { failing: "bad", waiting: "warn", passing: "good" };
const MEASURED = new Set(["Progressing", "Paused"]);
const PHASES = { Failed: "bad", RollingBack: "bad", Paused: "warn", Completed: "good" };

// The guard's values over the step, from its beginning to now; gaps where nothing was known.
function trace(looks) {
  const known = looks.filter(([, value]) => value !== null);
  if (known.length < 2) return NOTHING;
  const first = known[0][0];
  const last = known.at(-1)[0];
  const most = Math.max(...known.map(([, value]) => value), 0);
  const least = Math.min(...known.map(([, value]) => value), 0);
  const x = (at) => (WIDTH * (at - first)) / (last - first || 1);
  const y = (value) => HEIGHT - 1 - ((HEIGHT - 2) * (value - least)) / (most - least || 1);
  const points = known.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return svg("svg", { class: "values", width: WIDTH, height: HEIGHT, role: "img", "aria-label": "its values in this step" }, svg("polyline", { points }));
}

function guards(rollout) {
  if (!rollout.guards.length) return null;
  const rows = rollout.guards.map((guard) =>
    el(
      "tr",
      {},
      el("td", { class: "text name" }, guard.guard),
      el("td", { class: `text strong ${SEVERITY[guard.verdict]}`, "data-label": "Verdict" }, guard.verdict),
      el("td", { class: "text two", "data-label": "Seen" }, guard.reason),
      el("td", { class: "text two", "data-label": "In this step" }, trace(guard.looks)),
    ),
  );
  const head = ["Guard", "Verdict", "Seen", "In this step"].map((name) => el("th", { class: "text" }, name));
  return el("table", { class: "rows" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

export function rollouts(list) {
  return list.map((rollout) => {
    const shares = Object.entries(rollout.weights).map(([version, share]) => `${version} ${percent(share)}`).join(", ");
    const measured = MEASURED.has(rollout.phase) ? [`${duration(rollout.measured)} of ${duration(rollout.interval)} measured`] : [];
    const moves = rollout.moves.slice(-MOVES).map((move) =>
      el("li", {}, `${new Date(move.at * 1000).toLocaleTimeString([], { hour12: false })} · ${move.phase} · ${move.percent} % · ${move.reason}`),
    );
    return el(
      "div",
      { class: "rollout", "data-rollout": rollout.policy },
      el(
        "h3",
        {},
        `${rollout.policy} to ${rollout.to}: `,
        el("b", { class: PHASES[rollout.phase] ?? "" }, `${rollout.phase ?? "not begun"}, ${rollout.percent} %`),
        el("span", {}, [shares, ...measured].join(" · ")),
      ),
      rollout.fault ? el("p", {}, rollout.fault) : null,
      guards(rollout),
      el("ol", { class: "moves" }, ...moves),
    );
  });
}
