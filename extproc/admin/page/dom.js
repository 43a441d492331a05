// Elements from plain values. Names of models and callers come from outside: they become text, never markup.

import { colour } from "./colours.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A string among `children` is text.
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const at = (id) => document.getElementById(id);

// A model by its colour, its name and its version; where there is little room the name gives way, then the version.
// `asked` is shown in the place of a model that no policy names.
// `kind`: the colour's class; none for what is idle.
export function named(model, version, asked = "", kind = colour(model, version)) {
  return el(
    "div",
    { class: "named", title: `${asked || model} ${version}` },
    el("span", { class: `swatch ${kind}` }),
    el("span", { class: "model" }, asked || model),
    version === "none" ? null : el("span", { class: "sub" }, version),
  );
}

// What is folded until the reader unfolds it, and stays so when it is drawn anew.
const unfolded = new Set();
export function folded(name, summary, ...content) {
  const box = el("details", { class: "folded", open: unfolded.has(name) ? "" : null }, el("summary", {}, summary), ...content);
  box.addEventListener("toggle", () => (box.open ? unfolded.add(name) : unfolded.delete(name)));
  return box;
}
