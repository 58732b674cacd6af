// The loss and other measurements over the steps, each in its own figure. Pointer and arrow keys read a step's numbers;
// dragging selects a step.
const {words} = props,
  KINDS = ['rate', 'norm', 'memory'],
  HEIGHT = {loss: 190, other: 76},
  ROOM = 8; // above and below a line
const section = element.querySelector('.graph'),
  $ = selector => section.querySelector(selector);
const plots = $('.plots'),
  scrub = $('.scrub'),
  smoothing = $('.smoothing input'),
  logarithmic = $('.log'),
  over = $('select'),
  boxes = [...element.querySelectorAll('[data-line]')];
let points = null,
  other = null, // another run's numbers
  asked = '',
  cursor = null, // the step whose numbers are shown; null for the last one
  at = null, // the step whose picture is shown
  picked = null; // the same, unless it follows the newest one
const dropStale = makeStaleGuard();
const wanted = () => KINDS.filter(kind => boxes.find(box => box.dataset.line === kind).checked && points[kind]);

const path = (xs, ys, x, y) => {
  let drawn = '',
    pen = 'M';
  ys.forEach((value, k) => {
    const up = value === null ? null : y(value);
    if (up === null) return (pen = 'M');
    drawn += `${pen}${x(xs[k]).toFixed(1)} ${up.toFixed(1)}`;
    pen = 'L';
  });
  return drawn;
};
const band = (xs, lows, highs, x, y) => {
  const there = xs.map((_, k) => k).filter(k => lows[k] !== null && highs[k] !== null && y(lows[k]) !== null);
  if (!there.length) return '';
  const line = (row, order) => order.map(k => `${x(xs[k]).toFixed(1)} ${y(row[k]).toFixed(1)}`).join('L');
  return `M${line(highs, there)}L${line(lows, there.toReversed())}Z`;
};
// A figure with lines of [class, steps, values].
const panel = (kind, lines, {log = false, spread = null, dots = null} = {}) => {
  const width = plots.clientWidth,
    [before, after] = edges(),
    height = HEIGHT[kind] || HEIGHT.other,
    bounds = reach(
      lines.flatMap(([, , values]) => values),
      log,
    );
  if (!bounds) return '';
  const [low, high] = log ? bounds.map(Math.log10) : bounds,
    x = step => place(step, points.steps, width);
  const y = value => {
    if (log && value <= 0) return null;
    const share = ((log ? Math.log10(value) : value) - low) / (high - low);
    return ROOM + (1 - Math.min(1.02, Math.max(-0.02, share))) * (height - 2 * ROOM);
  };
  const few = kind === 'loss' ? 4 : 2,
    whole = each => kind !== 'memory' || Number.isInteger(each),
    inside = each => y(each) > ROOM - 1 && y(each) < height - ROOM + 1;
  const marks = log ? decades(...bounds) : evenly(...bounds, few).filter(each => whole(each) && inside(each));
  const scale = marks.map(each => {
    const up = y(each).toFixed(1);
    const said = kind === 'memory' ? put(words.megabytes, {count: each}) : number(each),
      rule = `<path class="rule" d="M${before} ${up}H${width - after}"/>`;
    return `${rule}<text x="${before - 8}" y="${up}" dy="4">${said}</text>`;
  });
  const drawn = lines.map(([name, xs, values]) => `<path class="${name}" d="${path(xs, values, x, y)}"/>`);
  const area = spread ? `<path class="band" d="${band(points.x, ...spread, x, y)}"/>` : '';
  const seen = (dots || []).filter(([, value]) => value !== null && y(value) !== null);
  const circles = seen.map(([step, value]) => `<circle class="held" r="3.5" cx="${x(step)}" cy="${y(value)}"/>`);
  const title = kind === 'loss' ? '' : `<text class="name" x="${width - after}" y="16">${words[kind]}</text>`;
  const all = [...scale, area, ...drawn, ...circles, title].join('');
  return `<svg width="${width}" height="${height}" aria-hidden="true">${all}</svg>`;
};
const axis = width => {
  const texts = evenly(0, points.steps, Math.max(2, Math.floor(width / 130))).map(
      step => `<text x="${place(step, points.steps, width)}" y="16" class="below">${step}</text>`,
    );
  return `<svg width="${width}" height="22" aria-hidden="true">${texts.join('')}</svg>`;
};

// The legend with the numbers at the cursor.
const readings = () => {
  const step = cursor ?? picked ?? points.x.at(-1),
    k = nearest(points.x, step),
    keep = smoothing.value / 100;
  const found = [['smooth', words.loss, smoothed(points.x, points.loss, keep)[k]]];
  if (cursor !== null) found.push(['raw', words.raw, points.loss[k]]);
  if (other?.points.x.length) {
    const {x, loss} = other.points;
    found.push(['over', other.run, step > x.at(-1) ? null : smoothed(x, loss, keep)[nearest(x, step)]]);
  }
  const held = points.held.filter(([each]) => each <= step).at(-1);
  if (held) found.push(['held', words.held, held[1]]);
  for (const kind of wanted()) found.push([kind, words[kind], points[kind][k]]);
  return [points.x[k], found];
};
const writeLegend = (legend, title, told) =>
  legend.replaceChildren(
    Object.assign(document.createElement('b'), {textContent: title}),
    ...told.map(([kind, name, text]) => {
      const one = document.createElement('span'),
        mark = Object.assign(document.createElement('i'), {className: kind});
      one.append(mark, name, ' ', Object.assign(document.createElement('b'), {textContent: text}));
      return one;
    }),
  );
const tell = () => {
  const [step, found] = readings();
  const texts = found.map(([kind, , value]) => {
    if (value === null || value === undefined) return words.missing;
    return kind === 'memory' ? put(words.megabytes, {count: Math.round(value)}) : number(value);
  });
  const told = found.map(([kind, name], k) => [kind, name, texts[k]]);
  writeLegend($('.legend'), put(words.step, {step}), told);
  scrub.setAttribute('aria-valuemax', points.steps);
  scrub.setAttribute('aria-valuenow', step);
  scrub.setAttribute(
    'aria-valuetext',
    [put(words.step, {step}), ...found.map(([, name], k) => `${name} ${texts[k]}`)].join(', '),
  );
  const width = plots.clientWidth;
  for (const [line, where] of [
    ['.hair', cursor],
    ['.head-line', at],
  ]) {
    $(line).hidden = where === null;
    $(line).style.insetInlineStart = `${place(where ?? 0, points.steps, width)}px`;
  }
};
const draw = () => {
  drawScores();
  section.hidden = !points || points.x.length < 2;
  if (section.hidden || !plots.clientWidth) return;
  const keep = smoothing.value / 100,
    lines = [['raw', points.x, points.loss]];
  if (other?.points.x.length) lines.push(['over', other.points.x, smoothed(other.points.x, other.points.loss, keep)]);
  lines.push(['smooth', points.x, smoothed(points.x, points.loss, keep)]);
  if (points.held.length) lines.push(['held', points.held.map(([step]) => step), points.held.map(([, loss]) => loss)]);
  const spread = points.low ? [points.low, points.high] : null,
    shown = [panel('loss', lines, {log: logarithmic.checked, spread, dots: points.held})];
  for (const kind of wanted()) shown.push(panel(kind, [[kind, points.x, points[kind]]]));
  $('.panels').innerHTML = shown.join('') + axis(plots.clientWidth);
  for (const box of boxes) box.closest('label').hidden = !points[box.dataset.line];
  $('.rises').hidden = !points.held.length;
  tell();
};

// Data from the server: new points, another run's points, or the names of runs.
const merge = heard => {
  if (!heard.from) return (points = heard);
  if (points?.key !== heard.key || !(points.x.at(-1) >= heard.from))
    return trigger('curve_wanted', {run: '', whole: true}); // an answer was lost
  const stays = points.x.findIndex(step => step >= heard.from);
  const fresh = {...heard};
  for (const [name, row] of Object.entries(heard))
    if (name !== 'held' && Array.isArray(row)) fresh[name] = [...(points[name] || []).slice(0, stays), ...row];
  points = fresh;
};
const inMegabytes = one => ({...one, memory: one.memory?.map(each => each && each / 1e6)});
const hear = () => {
  const value = dropStale(props.value);
  if (value === null) return;
  const heard = value ? JSON.parse(value) : null;
  if (!heard) points = null;
  else if (heard.runs) {
    const now = over.value;
    over.replaceChildren(over.options[0], ...heard.runs.map(name => new Option(name, name)));
    over.value = heard.runs.includes(now) ? now : '';
  } else if ('run' in heard) {
    if (heard.run === asked) other = heard.points && heard;
  } else merge(inMegabytes(heard));
  draw();
};

// Pointer and keyboard.
const read = (step, travels) => {
  cursor = step;
  if (travels) document.dispatchEvent(new CustomEvent('velatura:travel', {detail: {step}}));
  tell();
};
const under = event => stepAt(event.clientX - plots.getBoundingClientRect().left, points.steps, plots.clientWidth);
let dragging = false;
scrub.addEventListener('pointerdown', event => {
  if (event.button) return;
  dragging = true;
  scrub.setPointerCapture(event.pointerId);
  read(under(event), true);
});
scrub.addEventListener('pointermove', event => read(under(event), dragging));
for (const end of ['pointerup', 'pointercancel']) scrub.addEventListener(end, () => (dragging = false));
scrub.addEventListener('pointerleave', () => read(null, false));
scrub.addEventListener('blur', () => read(null, false));
scrub.addEventListener('keydown', event => {
  const by = Math.max(1, Math.round(points.steps / 100)),
    now = cursor ?? at ?? points.x.at(-1);
  const moves = {ArrowLeft: now - by, ArrowRight: now + by, PageDown: now - 10 * by, PageUp: now + 10 * by};
  const to = {...moves, ArrowDown: now - by, ArrowUp: now + by, Home: 0, End: points.x.at(-1)}[event.key];
  if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  read(Math.min(points.x.at(-1), Math.max(0, to)), true);
});
document.addEventListener('velatura:step', event => {
  at = event.detail.step;
  picked = event.detail.following ? null : at;
  tellScores();
  if (points && !section.hidden) tell();
});
smoothing.value = remember('smoothing') ?? 95;
logarithmic.checked = remember('log') === true;
const kept = remember('lines') || [];
for (const box of boxes) box.checked = kept.includes(box.dataset.line);
element.addEventListener('input', () => {
  remember('smoothing', +smoothing.value);
  remember('log', logarithmic.checked);
  remember(
    'lines',
    boxes.filter(box => box.checked).map(box => box.dataset.line),
  );
  if (points) draw();
});
over.addEventListener('change', () => {
  other = null;
  asked = over.value;
  if (asked) trigger('curve_wanted', {run: asked});
  draw();
});
const lines = $('.lines');
lines.addEventListener('toggle', () => lines.open && trigger('curve_wanted', {run: ''}));
element.addEventListener('keydown', event => {
  if (event.key !== 'Escape' || !lines.open) return;
  lines.open = false;
  lines.querySelector('summary').focus();
});
new ResizeObserver(() => points && draw()).observe(plots);
watch('value', hear);
hear();
