// The three steps of Train share a page; the address has the current one, so that "back" goes back a step.
const {steps, hint} = props,
  names = steps.map(step => step[0]);
const wanted = () => (names.includes(location.hash.slice(1)) ? location.hash.slice(1) : names[0]);
const count = () => document.body.dataset.pictures;
const reveal = name =>
  names.forEach(one => document.getElementById(`step-${one}`)?.classList.toggle('shown', one === name));
let shown = '';
const show = () => {
  let name = wanted();
  if (count() === '0') name = names[0];
  const links = [...element.querySelectorAll('a')],
    place = names.indexOf(name);
  links.forEach((link, k) => {
    link.classList.toggle('done', k < place);
    if (k === place) link.setAttribute('aria-current', 'step');
    else link.removeAttribute('aria-current');
    if (k > 0 && count() === '0') {
      link.setAttribute('aria-disabled', 'true');
      link.title = hint;
    } else {
      link.removeAttribute('aria-disabled');
      link.removeAttribute('title');
    }
  });
  element.querySelector('.where').textContent = `${place + 1}/${names.length}: ${steps[place][1]}`;
  reveal(name);
  if (name !== shown && count() !== undefined) {
    if (shown) {
      scrollTo(0, 0);
      const title = document.querySelector(`#step-${name} h1`);
      if (title) {
        title.tabIndex = -1;
        title.focus({preventScroll: true});
      }
    }
    if (shown || name !== names[0]) trigger('step_shown', {step: name, seen: +document.body.dataset.revision || 0});
    shown = name;
  }
};
addEventListener('hashchange', show);
document.addEventListener('velatura:pictures', () => {
  const asked = new URLSearchParams(location.search);
  if (asked.has('clone') || asked.has('start')) {
    // done: a reload must not repeat it
    asked.delete('clone');
    asked.delete('start');
    history.replaceState(history.state, '', location.pathname + (asked.size ? `?${asked}` : '') + location.hash);
  }
  show();
});
reveal(wanted());
show();
