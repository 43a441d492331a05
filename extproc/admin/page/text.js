// Numbers and names as people read them. A value that is not there is a dash, never a zero or 100 %.

export const NOTHING = "–";
const missing = (value) => value === null || value === undefined;

export function ms(value) {
  if (missing(value)) return NOTHING;
  return value < 9.95 ? value.toFixed(1) : value < 10000 ? value.toFixed(0) : `${(value / 1000).toFixed(1)} s`;
}

export function rate(value) {
  if (!value) return NOTHING;
  return value < 0.095 ? value.toFixed(2) : value < 999.5 ? value.toFixed(1) : value.toFixed(0);
}

// Never rounded up to 100 %.
export function percent(value) {
  if (missing(value)) return NOTHING;
  if (value === 1) return "100 %";
  const shown = Math.min(value * 100, 99.99);
  return `${shown < 99 ? shown.toFixed(1) : shown.toFixed(2)} %`;
}

export function health(success) {
  if (missing(success)) return "none";
  return success >= 0.999 ? "good" : success >= 0.99 ? "warn" : "bad";
}

// spiffe://cluster.local/ns/shop/sa/search is shop/search; so is Linkerd's search.shop.serviceaccount.identity…
export function caller(name) {
  const spiffe = /^spiffe:\/\/[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(name);
  if (spiffe) return `${spiffe[1]}/${spiffe[2]}`;
  const linkerd = /^([^.]+)\.([^.]+)\.serviceaccount\.identity\./.exec(name);
  return linkerd ? `${linkerd[2]}/${linkerd[1]}` : name;
}

export function served(model, version) {
  return version === "none" ? model : `${model} ${version}`;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
