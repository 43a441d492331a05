// Colours by name. A model and version keeps its own while it is shown, and no two that are shown have the same: where
// there are more than colours, the others have none.

const COUNT = 24; // in page.css
const colours = new Map(); // of key: its class, and the last drawing that had it
let drawing = 0;

// To be called before the page is drawn anew.
export function nextDrawing() {
  drawing += 1;
}

function free() {
  if (colours.size < COUNT) return `c${colours.size}`;
  // What the drawing before had may still be on the page, in a part that is drawn by itself.
  const [key, old] = [...colours].find(([, one]) => one.drawing < drawing - 1) ?? [];
  colours.delete(key);
  return old?.name ?? "";
}

export function colour(model, version) {
  const key = JSON.stringify([model, version]);
  const name = colours.get(key)?.name ?? free();
  if (name) colours.set(key, { name, drawing });
  return name;
}
