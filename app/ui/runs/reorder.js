// Reorders waiting runs by their handles, dragged or moved with the arrow keys.
const EDGE = 90,
  SPEED = 10;
const waiting = () => [...element.querySelectorAll('.runs > li')].filter(row => row.querySelector('.handle'));
let drag = null;
const middle = row => {
  const box = row.getBoundingClientRect();
  return box.top + box.height / 2;
};
const lay = () => {
  // positions of all rows while one is dragged
  const {row, rows, from, size} = drag;
  const by = drag.y + scrollY - drag.start;
  row.style.transform = `translateY(${by}px)`;
  const centre = drag.middles[from] + by;
  const passed = drag.middles.map((at, k) => (k > from ? centre + size / 2 > at : k < from && centre - size / 2 < at));
  drag.to = from + passed.slice(from).filter(Boolean).length - passed.slice(0, from).filter(Boolean).length;
  rows.forEach((other, k) => {
    if (other === row) return;
    const shift = k > from && k <= drag.to ? -size : k < from && k >= drag.to ? size : 0;
    other.style.transform = shift ? `translateY(${shift}px)` : '';
  });
};
const roll = () => {
  if (!drag) return;
  const by = drag.y < EDGE ? -SPEED : drag.y > innerHeight - EDGE ? SPEED : 0;
  if (by) {
    scrollBy(0, by);
    lay();
  }
  requestAnimationFrame(roll);
};
const drop = put => {
  const {row, rows, from, to, handle} = drag;
  drag = null;
  for (const each of rows) each.style.transform = '';
  row.classList.remove('in-hand');
  delete element.dataset.held;
  if (put && to !== from) {
    rows[to][to > from ? 'after' : 'before'](row); // at once; the answer confirms or reverts it
    handle.focus({preventScroll: true});
    ask(handle, {what: 'place', over: rows[to].dataset.key});
    setTimeout(patch, 2000);
  } else patch();
};
element.addEventListener('pointerdown', event => {
  const handle = event.target.closest('.handle');
  if (!handle || event.button || drag) return;
  const row = handle.closest('li'),
    rows = waiting(),
    from = rows.indexOf(row);
  handle.setPointerCapture(event.pointerId);
  element.dataset.held = '';
  const gap = parseFloat(getComputedStyle(row.parentElement).rowGap) || 0;
  const middles = rows.map(each => middle(each) + scrollY);
  drag = {
    handle,
    row,
    rows,
    from,
    to: from,
    y: event.clientY,
    start: event.clientY + scrollY,
    size: row.offsetHeight + gap,
    middles,
  };
  row.classList.add('in-hand');
  requestAnimationFrame(roll);
});
element.addEventListener('pointermove', event => {
  if (drag) {
    drag.y = event.clientY;
    lay();
  }
});
element.addEventListener('pointerup', () => drag && drop(true));
element.addEventListener('pointercancel', () => drag && drop(false));
element.addEventListener('keydown', event => {
  if (event.key === 'Escape' && drag) return drop(false);
  const handle = event.target.closest('.handle'),
    what = {ArrowUp: 'up', ArrowDown: 'down'}[event.key];
  if (!handle || !what || drag) return;
  event.preventDefault();
  ask(handle, {what});
});
