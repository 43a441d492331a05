// Who calls which model, and which GPUs serve it: three columns, and lines as thick as there are requests.

import { colour } from "./colours.js";
import { el, svg } from "./dom.js";
import { caller, health, ms, percent, rate, served } from "./text.js";

const ROW = 52;
const BOX = 40;
const HEAD = 24;
const NARROW = 130; // boxes with smaller letters
const INK = 30; // what the lines at one box may come to

function nodes(edges, key, title, short = () => "") {
  const found = new Map();
  for (const edge of edges) {
    const id = JSON.stringify(key(edge));
    const node = found.get(id) ?? { id, title: title(edge), short: short(edge), rps: 0, requests: 0, good: 0, edge };
    node.rps += edge.rps;
    node.requests += edge.requests;
    node.good += edge.requests * edge.success;
    found.set(id, node);
  }
  const last = (node) => node.title === "other";
  return [...found.values()].sort((a, b) => last(a) - last(b) || b.rps - a.rps);
}

function links(edges, from, to) {
  const found = new Map();
  for (const edge of edges) {
    const ends = [JSON.stringify(from(edge)), JSON.stringify(to(edge))];
    const id = JSON.stringify(ends);
    const link = found.get(id) ?? { ends, rps: 0, requests: 0, good: 0, p95: 0, edge };
    link.rps += edge.rps;
    link.requests += edge.requests;
    link.good += edge.requests * edge.success;
    link.p95 = Math.max(link.p95, edge.p95_ms ?? 0);
    found.set(id, link);
  }
  return [...found.values()];
}

const cut = (text, length) => (text.length > length ? `${text.slice(0, Math.max(1, length - 1))}…` : text);

function box(node, x, y, width, mark) {
  const narrow = width < NARROW;
  const letters = Math.floor((width - 20) / (narrow ? 6.1 : 6.9));
  const success = node.good / node.requests;
  const version = node.edge.version === "none" ? "" : `${node.edge.version} · `;
  // A model keeps its version also where there is little room.
  const split = node.short && node.title.length > letters;
  const figures = `${rate(node.rps)}/s${narrow && split ? "" : ` · ${percent(success)}`}`;
  return svg(
    "g",
    { class: `node ${mark} ${narrow ? "narrow" : ""}` },
    svg("title", {}, `${node.title}: ${rate(node.rps)} requests per second, ${percent(success)} successful`),
    svg("rect", { x, y, width, height: BOX, rx: 8 }),
    svg("rect", { class: "mark", x, y: y + 8, width: 3, height: BOX - 16, rx: 1.5 }),
    svg("text", { class: "title", x: x + 12, y: y + 17 }, cut(split ? node.short : node.title, letters)),
    svg("text", { class: health(success), x: x + 12, y: y + 32 }, cut(split ? version + figures : figures, letters + 2)),
  );
}

export function topology(edges, width) {
  if (!edges.length) return el("p", { class: "empty" }, "No requests in this time.");
  const byCaller = (edge) => edge.caller;
  const byModel = (edge) => [edge.model, edge.version];
  const byPool = (edge) => edge.gpu_pool;
  const columns = [
    { name: "Callers", nodes: nodes(edges, byCaller, (edge) => caller(edge.caller)), mark: () => "" },
    { name: "Models", nodes: nodes(edges, byModel, (edge) => served(edge.model, edge.version), (edge) => edge.model), mark: (node) => colour(node.edge.model, node.edge.version) },
    { name: "GPU pools", nodes: nodes(edges, byPool, (edge) => (edge.gpu_pool === "none" ? "no pool" : edge.gpu_pool)), mark: () => "" },
  ];
  const height = HEAD + ROW * Math.max(...columns.map((column) => column.nodes.length));
  const boxWidth = Math.min(230, width * (width < 600 ? 0.295 : 0.25));
  const most = Math.max(...columns.flatMap((column) => column.nodes.map((node) => node.rps))) || 1; // all are 0 where nobody has asked
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Who calls what" });
  columns.forEach((column, at) => {
    column.x = ((width - boxWidth) * at) / 2;
    const top = HEAD + (height - HEAD - ROW * column.nodes.length) / 2;
    column.nodes.forEach((node, row) => Object.assign(node, { x: column.x, y: top + ROW * row + (ROW - BOX) / 2, left: 0, right: 0 }));
    picture.append(svg("text", { class: "column", x: column.x, y: 12 }, column.name));
  });
  const pairs = [
    [columns[0], columns[1], links(edges, byCaller, byModel)],
    [columns[1], columns[2], links(edges, byModel, byPool)],
  ];
  for (const [left, right, list] of pairs) {
    const find = (column, id) => column.nodes.find((node) => node.id === id);
    const ends = list.map((link) => ({ link, from: find(left, link.ends[0]), to: find(right, link.ends[1]) }));
    ends.sort((a, b) => a.from.y - b.from.y || a.to.y - b.to.y);
    for (const { link, from, to } of ends) {
      const thick = Math.max(1.5, (INK * link.rps) / most);
      const start = from.y + BOX / 2 - (INK * from.rps) / most / 2 + from.right + thick / 2;
      const end = to.y + BOX / 2 - (INK * to.rps) / most / 2 + to.left + thick / 2;
      from.right += thick;
      to.left += thick;
      const [x1, x2] = [from.x + boxWidth, to.x];
      const middle = (x1 + x2) / 2;
      const success = link.good / link.requests;
      const colouring = success < 0.95 ? "bad" : colour(link.edge.model, link.edge.version);
      const line = svg("path", {
        class: `edge ${colouring}`,
        "stroke-width": thick.toFixed(1),
        d: `M${x1} ${start.toFixed(1)}C${middle} ${start.toFixed(1)} ${middle} ${end.toFixed(1)} ${x2} ${end.toFixed(1)}`,
      });
      line.append(svg("title", {}, `${from.title} → ${to.title}: ${rate(link.rps)}/s, ${percent(success)}, p95 ${ms(link.p95 || null)} ms`));
      picture.append(line);
    }
  }
  for (const column of columns) {
    for (const node of column.nodes) picture.append(box(node, node.x, node.y, boxWidth, column.mark(node)));
  }
  return picture;
}
