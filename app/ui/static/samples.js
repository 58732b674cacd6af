// A sample that is pressed goes under the slider and, large, over the page, where arrows lead to its neighbours.
const cells = () => [...element.querySelectorAll('.grid tr')].slice(1).map(row => [...row.querySelectorAll('button')]);
const place = button => {
  const rows = cells(), row = rows.findIndex(list => list.includes(button));
  return {rows, row, column: rows[row].indexOf(button)};
};
const titled = button => `${button.closest('tr').querySelector('th').textContent} · ${button.dataset.title}`;
const light = document.createElement('dialog');
light.className = 'light';
const make = (label, sign, move) => {
  const button = Object.assign(document.createElement('button'), {type: 'button', textContent: sign, onclick: move});
  button.setAttribute('aria-label', label);
  return button;
};
const picture = document.createElement('img'), words = document.createElement('p');
words.setAttribute('aria-live', 'polite');
let current = null;
const show = button => {
  current = button;
  picture.src = button.dataset.whole;
  picture.alt = words.textContent = titled(button);
  const {rows, row} = place(button);
  document.dispatchEvent(new CustomEvent('velatura:sample', {
    detail: {before: rows[row][0].dataset.whole, whole: button.dataset.whole, words: titled(button)},
  }));
};
const step = (down, right) => {
  const {rows, row, column} = place(current);
  const next = rows[row + down]?.[column + right];
  if (next) show(next);
};
const close = make(props.words.close, '×', () => light.close());
close.className = 'close';
light.append(make(props.words.earlier, '‹', () => step(0, -1)), picture, make(props.words.later, '›', () => step(0, 1)), words, close);
element.append(light);
element.addEventListener('click', event => {
  const button = event.target.closest('.grid button');
  if (button) { show(button); light.showModal(); }
  else if (event.target === light) light.close();
});
light.addEventListener('keydown', event => {
  const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
  if (moves[event.key]) { event.preventDefault(); step(...moves[event.key]); }
});
light.addEventListener('close', () => current?.focus({preventScroll: true}));
