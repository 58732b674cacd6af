// Ticked runs on all pages of the list, and the bar that compares them.
const bar = element.querySelector('.ticked'),
  told = bar.querySelector('p'),
  go = bar.querySelector('.go');
const ticked = new Set(),
  {words, fewest, most} = props;
const boxes = () => [...element.querySelectorAll('[data-tick]')];
const tell = () => {
  const count = ticked.size,
    names = [...ticked].join(', ');
  for (const box of boxes()) box.checked = ticked.has(box.dataset.tick);
  bar.hidden = !count;
  go.disabled = count < fewest || count > most;
  const said = words[count < fewest ? 'one' : count > most ? 'many' : 'some'];
  told.textContent = said.replace(/\{(\w+)\}/g, (_, name) => ({names, count})[name]);
};
element.addEventListener('change', event => {
  const name = event.target.dataset.tick;
  if (name === undefined) return;
  event.target.checked ? ticked.add(name) : ticked.delete(name);
  tell();
});
go.addEventListener('click', () => {
  location.href = `compare?ids=${[...ticked].map(encodeURIComponent).join()}`;
});
bar.querySelector('.quiet').addEventListener('click', () => {
  const first = boxes().find(box => box.checked);
  ticked.clear();
  tell();
  first?.focus();
});
element.addEventListener('velatura:asked', event => {
  if (event.detail.what === 'delete' && ticked.delete(event.detail.about)) tell();
});
watch('value', () => setTimeout(tell));
tell();
