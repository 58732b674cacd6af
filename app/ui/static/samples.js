// A sample that is pressed goes under the slider and, large, over the page, where arrows lead to its neighbours.
const cells = () => [...element.querySelectorAll('.grid tr')].slice(1).map(row => [...row.querySelectorAll('button')]);
const place = button => {
  const rows = cells(), row = rows.findIndex(list => list.includes(button));
  return {rows, row, column: rows[row].indexOf(button)};
};
const titled = button => `${button.closest('tr').querySelector('th').textContent} · ${button.dataset.title}`;
const enlarge = makeLight({
  titled,
  after: (button, down, right) => {
    const {rows, row, column} = place(button);
    return rows[row + down]?.[column + right];
  },
  shown: button => {
    const {rows, row} = place(button);
    document.dispatchEvent(new CustomEvent('velatura:sample', {
      detail: {before: rows[row][0].dataset.whole, whole: button.dataset.whole, words: titled(button)},
    }));
  },
});
element.addEventListener('click', event => {
  const button = event.target.closest('.grid button');
  if (button) enlarge(button);
});
