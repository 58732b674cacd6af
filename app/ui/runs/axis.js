// The time axis that the strip of samples and the graph below it share: steps from edge to edge.
const EDGES = [60, 60]; // pixels before the first step, for the numbers of the graph, and behind the last one
const place = (step, steps, width) => EDGES[0] + (step / Math.max(1, steps)) * (width - EDGES[0] - EDGES[1]);
const stepAt = (x, steps, width) =>
  Math.min(steps, Math.max(0, Math.round(((x - EDGES[0]) / (width - EDGES[0] - EDGES[1])) * steps)));
const put = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const remember = (key, value) => {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(`velatura-run-${key}`));
    localStorage.setItem(`velatura-run-${key}`, JSON.stringify(value));
  } catch {
    /* a private window forgets */
  }
  return null;
};
