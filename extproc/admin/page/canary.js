// How the requests were shared among a policy's versions, beside what its weights say.

import { colour } from "./colours.js";
import { el, folded } from "./dom.js";
import { NOTHING } from "./text.js";

const share = (value) => (value === null ? NOTHING : `${(value * 100).toFixed(1)} %`);

function bar(model, versions, part, kind) {
  const found = el("div", { class: `bar ${kind}` });
  for (const version of versions) {
    if (!version[part]) continue;
    const piece = el("span", { class: colour(model, version.version), title: `${version.version}: ${share(version[part])}` });
    piece.style.flexGrow = version[part];
    found.append(piece);
  }
  return found;
}

// Those with most requests first, those with none folded.
export function canaries(list) {
  const busy = list.filter((one) => one.requests).sort((a, b) => b.requests - a.requests);
  const idle = list.filter((one) => !one.requests);
  const shares = drawn(busy);
  return idle.length ? [...shares, folded("canaries", `${idle.length} without requests`, ...drawn(idle))] : shares;
}

function drawn(list) {
  return list.map((canary) => {
    const model = canary.models[0];
    const legend = el("ul", { class: "legend" });
    for (const version of canary.versions) {
      legend.append(
        el(
          "li",
          { "data-share": `${canary.policy} ${version.version}` },
          el("span", { class: `swatch ${colour(model, version.version)}` }),
          version.version,
          el("b", {}, share(version.share)),
          el("span", {}, `\u00a0of ${share(version.weight)}`),
        ),
      );
    }
    const how = `${canary.requests} requests${canary.sticky ? ", users stay on their version" : ""}`;
    return el(
      "div",
      { class: "share" },
      el("h3", {}, canary.policy, el("span", {}, `${canary.models.join(", ")} · ${how}`)),
      el("span", { class: "kind" }, "Requests"),
      bar(model, canary.versions, "share", "seen"),
      el("span", { class: "kind" }, "Weights"),
      bar(model, canary.versions, "weight", "wanted"),
      legend,
    );
  });
}
