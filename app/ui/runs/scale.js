// Positions of numbers in a figure, and the ticks of its axes.
const steps125 = (span, count) => {
  const rough = span / count,
    power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map(each => each * power).find(each => each >= rough);
};
const evenly = (low, high, count) => {
  const by = steps125(high - low || 1, count),
    found = [];
  for (let at = Math.ceil(low / by) * by; at <= high + by * 1e-9; at += by) found.push(+at.toPrecision(12));
  return found;
};
const decades = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
    for (const each of [1, 2, 5])
      if (each * 10 ** power >= low && each * 10 ** power <= high) found.push(each * 10 ** power);
  return found.length > 1 ? found : evenly(low, high, 3).filter(each => each > 0);
};
const decimal = new Intl.NumberFormat(document.documentElement.lang, {numberingSystem: 'latn'}).format(1.5)[1];
const number = value => {
  const size = Math.abs(value);
  if (!size) return '0';
  const said =
    size >= 1e5 || size < 1e-3
      ? value.toExponential(1).replace(/\.0e/, 'e').replace('e+', 'e')
      : String(+value.toPrecision(4));
  return said.replace('.', decimal);
};
// The range to draw, without the few most extreme values, which would flatten the rest.
const reach = (values, log) => {
  const there = values.filter(each => each !== null && (!log || each > 0)),
    rank = (log ? there.map(Math.log10) : there).sort((a, b) => a - b);
  if (!rank.length) return null;
  const cut = Math.floor(rank.length / 50),
    [bottom, top] = [rank[cut], rank[rank.length - 1 - cut]],
    far = top - bottom || Math.abs(top),
    low = rank.find(each => each >= bottom - far),
    high = rank.findLast(each => each <= top + far),
    size = Math.abs(high) || 1, // equal values differ in their last digits once they are smoothed
    room = log ? 0.04 : (high - low > size * 1e-9 ? high - low : size) * 0.08;
  return [low - room, high + room].map(each => (log ? 10 ** each : each));
};
// An exponential moving average: `keep` is the share that remains after a step, however many steps lie between two
// values.
const smoothed = (x, y, keep) => {
  let sum = 0,
    weight = 0,
    last = null;
  return y.map((value, k) => {
    if (value === null) return null;
    const stays = keep ** (last === null ? 1 : x[k] - last);
    sum = stays * sum + (1 - stays) * value;
    weight = stays * weight + (1 - stays);
    last = x[k];
    return sum / weight;
  });
};
const nearest = (x, step) => {
  let low = 0,
    high = x.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low && step - x[low - 1] < x[low] - step ? low - 1 : low;
};
