// The time axis shared by the strip of samples and the graph: steps from edge to edge.
const narrow = matchMedia('(max-width: 720px)');
// Pixels before the first step, for the graph's numbers, and after the last one.
const edges = () => (narrow.matches ? [48, 18] : [60, 60]);
const place = (step, steps, width) => {
  const [before, after] = edges();
  return before + (step / Math.max(1, steps)) * (width - before - after);
};
const stepAt = (x, steps, width) => {
  const [before, after] = edges();
  return Math.min(steps, Math.max(0, Math.round(((x - before) / (width - before - after)) * steps)));
};
const put = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const remember = (key, value) => {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(`velatura-run-${key}`));
    localStorage.setItem(`velatura-run-${key}`, JSON.stringify(value));
  } catch {
    /* private windows have no storage */
  }
  return null;
};
