// The strip: a frame for every step at its place on the time axis; on a phone they stand in a row. Of frames that would
// overlap only the selected one is visible; the others have ticks. A few frames grow, as those of a run stopped early.
const GAP = 6,
  FEW = 4,
  TALLEST = 168;
const strip = $('.strip'),
  cells = $('.cells'),
  ticks = $('.ticks'),
  frames = new Map();
const frameOf = step => {
  if (!frames.has(step)) {
    const frame = document.createElement('div');
    frame.dataset.step = step;
    frame.id = `cell-${step}`;
    frame.innerHTML = `<img loading="lazy" alt=""><span class="mark">${props.star}</span><span class="at"></span>`;
    frame.querySelector('.at').textContent = step === BEFORE ? words.start : step;
    frames.set(step, frame);
  }
  return frames.get(step);
};
const sizeOf = () => cells.clientHeight * data.ratio;
const grow = (count, width) => {
  const room = count > FEW ? 0 : (width / count - GAP) / data.ratio;
  cells.style.setProperty('--frame', `${Math.min(TALLEST, Math.max(narrow.matches ? 84 : 92, room))}px`);
};
const withRoom = (steps, first, width) => {
  // the newest frame and the run's step are always visible, then those with a picture and the others, from the right
  const places = [],
    apart = sizeOf() + GAP,
    pictured = drawn().map(cell => cell.step);
  return new Set(
    [...first, ...pictured.toReversed(), ...steps.toReversed()].filter(step => {
      const x = place(step, data.steps, width);
      const fits = places.every(taken => Math.abs(taken - x) >= apart);
      if (fits) places.push(x);
      return fits;
    }),
  );
};
const lay = (steps, width) => {
  const size = sizeOf();
  for (const step of steps) {
    const {style} = frameOf(step);
    style.insetInlineStart = `${Math.max(0, Math.min(width - size, place(step, data.steps, width) - size / 2))}px`;
    style.inlineSize = `${size}px`;
  }
};
const drawTicks = (steps, width) => {
  while (ticks.children.length > steps.length) ticks.lastChild.remove();
  steps.forEach((step, k) => {
    const tick = ticks.children[k] || ticks.appendChild(document.createElement('i'));
    tick.style.insetInlineStart = `${place(step, data.steps, width)}px`;
    tick.classList.toggle('planned', data.planned.includes(step));
  });
};
const drawFrame = (frame, cell, seen) => {
  const source = address(cell, row, 'small'),
    given = isGiven(cell);
  show(frame.querySelector('img'), seen || cell?.step === at ? source : '');
  const comes = data.going && cell && cell === data.cells.at(-1);
  frame.className = `cell${source ? '' : comes ? ' skeleton' : ' planned'}${given ? ' given' : ''}`;
  frame.classList.toggle('culled', !seen);
  frame.classList.toggle('candidate', isCandidate(cell));
  frame.classList.toggle('kept', Boolean(data.may && cell?.kept));
  if (!source) {
    frame.removeAttribute('role');
    frame.removeAttribute('aria-selected');
    return frame.setAttribute('aria-hidden', 'true');
  }
  frame.removeAttribute('aria-hidden');
  frame.setAttribute('role', 'option');
  frame.setAttribute('aria-selected', cell.step === at);
  const named = given ? words.starred : isCandidate(cell) ? words.candidate : '{step}';
  frame.setAttribute('aria-label', put(named, {step: titleOf(cell)}));
};
const drawStrip = () => {
  if (!strip.clientWidth) return; // not laid out yet: the observer below calls again
  const known = new Map(data.cells.map(cell => [cell.step, cell])),
    steps = [...known.keys(), ...data.planned].sort((a, b) => a - b),
    width = strip.clientWidth;
  grow(steps.length, width);
  const first = [newest()?.step, data.gives].filter(step => known.has(step)),
    kept = narrow.matches ? new Set(steps) : withRoom(steps, first, width);
  for (const [step, frame] of frames) if (!steps.includes(step)) (frame.remove(), frames.delete(step));
  steps.forEach((step, k) => {
    const frame = frameOf(step);
    if (cells.children[k] !== frame) cells.insertBefore(frame, cells.children[k] ?? null);
    drawFrame(frame, known.get(step) ?? unseen(step), kept.has(step));
    if (narrow.matches) frame.removeAttribute('style');
  });
  if (!narrow.matches) lay(steps, width);
  drawTicks(narrow.matches ? [] : steps, width);
  const head = $('.head-line');
  head.hidden = narrow.matches || at === null;
  head.style.insetInlineStart = `${place(at ?? 0, data.steps, width)}px`;
  cells.setAttribute('aria-activedescendant', frames.has(at) ? `cell-${at}` : '');
  cells.setAttribute('aria-busy', !data.cells.length);
  const frame = frames.get(at);
  if (narrow.matches && frame)
    cells.scrollTo({left: frame.offsetLeft - (cells.clientWidth - frame.clientWidth) / 2, behavior: 'smooth'});
};

// Dragging along the strip selects steps.
let dragging = false;
const travel = event => {
  const x = event.clientX - strip.getBoundingClientRect().left;
  select(stepAt(x, data.steps, strip.clientWidth));
};
strip.addEventListener('pointerdown', event => {
  if (event.button || narrow.matches || !data || event.target.closest('.kept .mark')) return;
  const empty = event.target.closest('.cell.planned:not(.culled)');
  if (empty) return ($('.told').textContent = put(words.undrawn, {step: empty.dataset.step}));
  dragging = true;
  strip.setPointerCapture(event.pointerId);
  travel(event);
});
strip.addEventListener('pointermove', event => dragging && travel(event));
for (const end of ['pointerup', 'pointercancel'])
  strip.addEventListener(end, () => {
    if (dragging) cells.focus({preventScroll: true});
    dragging = false;
  });
strip.addEventListener('click', event => {
  const frame = event.target.closest('.cell');
  if (!frame) return;
  const step = +frame.dataset.step,
    cell = data.cells.find(each => each.step === step) ?? unseen(step);
  if (!cell) return;
  if (event.target.closest('.kept .mark')) return star(cell);
  if (narrow.matches && frame.matches('[role=option]')) select(cell.step);
});
strip.addEventListener('dblclick', open);
new ResizeObserver(() => data && drawStrip()).observe(strip);
watch('value', hear);
hear();
