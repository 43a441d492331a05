// Elements from plain values. Names of models and callers come from outside: they become text, never markup.

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
export function named(model, version, asked = "") {
  return el(
    "div",
    { class: "named", title: `${asked || model} ${version}` },
    el("span", { class: `swatch ${colour(model, version)}` }),
    el("span", { class: "model" }, asked || model),
    version === "none" ? null : el("span", { class: "sub" }, version),
  );
}

// Colours by name, the same in every part of the page for as long as it is open.
const colours = new Map();
export function colour(model, version) {
  const key = JSON.stringify([model, version]);
  if (!colours.has(key)) colours.set(key, `c${colours.size % 8}`);
  return colours.get(key);
}
