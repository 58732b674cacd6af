// The chosen generation: enlarging a picture, using its settings, keeping one of a comparison.
const all = () => [...element.querySelectorAll('[data-whole]')];
const cellOf = button => button.closest('td');
// In a grid, the next picture in that direction; in a series, up and down lead to the neighbouring rows.
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

// A series is one row while each picture has room; otherwise the number per row that makes them largest.
const CAPTION = 56,
  LEAST = 140,
  ABOUT = 0.88;
const fit = () => {
  const series = element.querySelector('.pair.series');
  if (!series) return;
  const [width, height] = series.dataset.shape.split('/').map(Number),
    count = series.children.length,
    gap = parseFloat(getComputedStyle(series).columnGap),
    wide = series.clientWidth,
    high = Math.max(innerHeight - 220, 320);
  const ways = Array.from({length: count}, (_, index) => {
    const columns = index + 1,
      rows = Math.ceil(count / columns),
      room = (wide - gap * index) / columns;
    return {columns, room, side: Math.min(room, ((high - rows * (CAPTION + gap)) / rows) * (width / height))};
  });
  const largest = Math.max(...ways.map(way => way.side)),
    row = ways.at(-1),
    {columns, room, side} = row.room >= LEAST ? row : ways.findLast(way => way.side >= ABOUT * largest);
  const fits = side >= LEAST, // otherwise there are more than the window holds
    most = Math.max(1, Math.floor((wide + gap) / (LEAST + gap)));
  series.style.setProperty('--columns', fits ? columns : most);
  series.style.setProperty('--side', fits ? `${Math.floor(Math.min(room, side * 1.2))}px` : '1fr');
};
new ResizeObserver(fit).observe(element);
watch('value', () => setTimeout(fit));
