// Enlarges a clicked sample; arrows lead to its neighbours.
const places = () =>
  [...element.querySelectorAll('.grid tr')]
    .slice(1)
    .map(row => [...row.querySelectorAll('td')].map(cell => cell.querySelector('button')));
const titled = button => `${button.closest('tr').querySelector('th').textContent} · ${button.dataset.title}`;
const enlarge = makeLight({
  titled,
  after: (button, down, right) => {
    // the next existing one, as cells can be empty
    const rows = places();
    let row = rows.findIndex(list => list.includes(button)),
      column = rows[row].indexOf(button),
      found = null;
    do found = rows[(row += down)]?.[(column += right)];
    while (found === null);
    return found;
  },
});
element.addEventListener('click', event => {
  const button = event.target.closest('.grid button');
  if (button) enlarge(button);
});
