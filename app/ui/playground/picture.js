// The picture that is looked at, with and without the styles: large over the page, and its settings put back.
const pair = () => element.querySelector('.pair');
const all = () => [...element.querySelectorAll('.pair [data-whole]')];
const columns = () => (pair().matches('.ribbon') ? Number(pair().style.getPropertyValue('--columns')) : 1);
const enlarge = makeLight({
  titled: button => `${element.querySelector('.about .words').textContent} · ${button.dataset.title}`,
  after: (button, down, right) => all()[all().indexOf(button) + down * columns() + right],
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-whole]'),
    asked = event.target.closest('[data-do]');
  if (button) enlarge(button);
  if (asked) trigger('asked', {what: asked.dataset.do, about: asked.dataset.about});
});
