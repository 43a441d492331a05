// Which service calls which, by the traces: services in the order of calls, from left to right, or downwards where
// there is little room.

import { el, svg } from "./dom.js";
import { ms, percent } from "./text.js";

const BOX = { width: 150, height: 40 };
const GAP = { along: 120, across: 14 };
const DOWNWARDS = 720; // pixels below which it is drawn downwards
const SMALL = { width: 112, height: 40 }; // at the most, where it is drawn downwards
const NARROW_GAP = 6; // between boxes beside each other, at the least
const PADDING = 8;

// The longest way on which a service is reached from those that nobody calls; loops end.
export function levels(edges) {
  const names = [...new Set(edges.flatMap((edge) => [edge.caller, edge.callee]))];
  const level = new Map(names.map((name) => [name, 0]));
  for (let round = 1; round < names.length; round += 1) {
    let moved = false;
    for (const { caller, callee } of edges) {
      if (caller !== callee && level.get(callee) < level.get(caller) + 1 && level.get(caller) + 1 < names.length) {
        level.set(callee, level.get(caller) + 1);
        moved = true;
      }
    }
    if (!moved) break;
  }
  return level;
}

const cut = (text, length) => (text.length > length ? `${text.slice(0, Math.max(1, length - 2))}…` : text);
const success = (edge) => 1 - edge.failed / edge.calls;
const worst = (share) => (share >= 0.999 ? "good" : share >= 0.99 ? "warn" : "bad");

function columnsOf(edges) {
  const columns = [];
  for (const [name, level] of levels(edges)) {
    (columns[level] ??= []).push({ name, calls: edges.filter((edge) => edge.callee === name) });
  }
  return columns.filter(Boolean);
}

function box(node, narrow) {
  const calls = node.calls.reduce((sum, edge) => sum + edge.calls, 0);
  const failed = node.calls.reduce((sum, edge) => sum + edge.failed, 0);
  const p50 = Math.max(...node.calls.map((edge) => edge.p50_ms));
  const share = calls ? 1 - failed / calls : 1;
  const letters = Math.floor((node.width - 14) / (narrow ? 6.3 : 7.3));
  const figures = calls ? `${ms(p50)} ms${failed ? ` · ${percent(share)}` : ""}` : "asks";
  return svg(
    "g",
    { class: `node ${narrow ? "narrow" : ""}`, "data-service": node.name },
    svg("title", {}, calls ? `${node.name}: ${calls} calls, ${percent(share)} successful, p50 ${ms(p50)} ms` : node.name),
    svg("rect", { x: node.x, y: node.y, width: node.width, height: node.height, rx: 8 }),
    svg("text", { class: "title", x: node.x + 8, y: node.y + 17 }, cut(node.name, letters)),
    svg("text", { class: calls ? worst(share) : "", x: node.x + 8, y: node.y + 32 }, figures),
  );
}

function line(edge, from, to, downwards) {
  const [x1, y1, x2, y2] = downwards
    ? [from.x + from.width / 2, from.y + from.height, to.x + to.width / 2, to.y]
    : [from.x + from.width, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const path = downwards
    ? `M${x1} ${y1}C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`
    : `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
  const found = svg("path", { class: `call ${worst(success(edge)) === "bad" ? "bad" : ""}`, d: path });
  const added = edge.added_p50_ms === null ? "" : `, the hop adds ${ms(edge.added_p50_ms)} ms`;
  found.append(svg("title", {}, `${edge.caller} → ${edge.callee}: ${edge.calls} calls, p95 ${ms(edge.p95_ms)} ms${added}`));
  return found;
}

// Gives each service its place; returns the height of the picture.
function placeDownwards(columns, width) {
  columns.forEach((column, at) => {
    const wide = Math.min(SMALL.width, (width - NARROW_GAP * (column.length - 1)) / column.length);
    const start = (width - (wide + NARROW_GAP) * column.length + NARROW_GAP) / 2;
    column.forEach((node, row) => Object.assign(node, { x: start + row * (wide + NARROW_GAP), y: at * (SMALL.height + 30), width: wide, height: SMALL.height }));
  });
  return (SMALL.height + 30) * columns.length - 30;
}

function placeAlong(columns, width) {
  const across = BOX.height + GAP.across;
  const height = across * Math.max(...columns.map((column) => column.length)) - GAP.across;
  const step = Math.min(BOX.width + GAP.along, (width - BOX.width) / Math.max(1, columns.length - 1));
  columns.forEach((column, at) => {
    const start = (height - across * column.length + GAP.across) / 2;
    column.forEach((node, row) => Object.assign(node, { x: at * step, y: start + row * across, ...BOX }));
  });
  return height;
}

export function services(edges, width) {
  if (!edges.length) return el("p", { class: "empty" }, "No call from one service to another is known.");
  const downwards = width < DOWNWARDS;
  const columns = columnsOf(edges);
  const height = (downwards ? placeDownwards : placeAlong)(columns, width) + 2 * PADDING;
  const nodes = new Map(columns.flat().map((node) => [node.name, node]));
  const picture = svg("svg", { viewBox: `0 ${-PADDING} ${width} ${height}`, height, role: "img", "aria-label": "Which service calls which" });
  for (const edge of edges) {
    if (edge.caller !== edge.callee) picture.append(line(edge, nodes.get(edge.caller), nodes.get(edge.callee), downwards));
  }
  for (const node of nodes.values()) picture.append(box(node, downwards));
  return picture;
}
