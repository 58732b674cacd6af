// The pictures that are looked at: large over the page, one of them kept, and their settings put back.
const all = () => [...element.querySelectorAll('[data-whole]')];
const cellOf = button => button.closest('td');
// In a grid the next picture in that direction; in a series up and down lead to the row above and below.
const beside = (button, down, right) => {
  const cell = cellOf(button);
  if (cell) {
    const rows = [...element.querySelectorAll('tbody tr')].map(row => [...row.querySelectorAll('td')]),
      row = rows.findIndex(cells => cells.includes(cell));
    return rows[row + down]?.[rows[row].indexOf(cell) + right]?.querySelector('[data-whole]');
  }
  const columns = getComputedStyle(button.closest('.pair')).gridTemplateColumns.split(' ').length;
  return all()[all().indexOf(button) + down * columns + right];
};
const keep = button => trigger('asked', {what: 'keep', about: button.dataset.keepAs});
const enlarge = makeLight({
  titled: button => `${element.querySelector('.about .words').textContent} · ${button.dataset.title}`,
  after: beside,
  file: button => ({href: button.dataset.file, name: button.dataset.name}),
  more: {label: props.words.keep, offered: button => Boolean(button.dataset.keepAs), act: keep},
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-whole]'),
    asked = event.target.closest('[data-do]');
  if (button) enlarge(button);
  if (asked) trigger('asked', {what: asked.dataset.do, about: asked.dataset.about});
});

// Pictures of a series are as large as there is room for: as many in a row as make each the largest.
const CAPTION = 56,
  GAP = 18,
  LEAST = 140;
const fit = () => {
  const series = element.querySelector('.pair.series');
  if (!series) return;
  const [width, height] = series.dataset.shape.split('/').map(Number),
    count = series.children.length,
    wide = series.clientWidth,
    high = Math.max(innerHeight - 220, 320);
  let best = 1,
    most = 0,
    room = 0;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns),
      own = (wide - GAP * (columns - 1)) / columns,
      side = Math.min(own, ((high - rows * (CAPTION + GAP)) / rows) * (width / height));
    if (side > most) [best, most, room] = [columns, side, own];
  }
  if (most < LEAST) best = Math.max(1, Math.floor((wide + GAP) / (LEAST + GAP))); // more than the window holds
  series.style.setProperty('--columns', best);
  series.style.setProperty('--side', most < LEAST ? '1fr' : `${Math.floor(Math.min(room, most * 1.2))}px`);
};
new ResizeObserver(fit).observe(element);
watch('value', () => setTimeout(fit));
