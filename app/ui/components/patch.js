// Updates a part to the server's newest value, except while the user holds an element of it (`data-held`).
const holder = element.querySelector('div'),
  dropStale = makeStaleGuard();
let value = '',
  pressed = null; // a focused button that was disabled
element.addEventListener('focusout', ({target}) => (pressed = target.disabled ? target : null));
document.addEventListener('focusin', () => (pressed = null));
const patch = () => {
  value = dropStale(props.value) ?? value;
  if ('held' in element.dataset) return;
  const sheet = document.createElement('template');
  sheet.innerHTML = value;
  const focused = pressed || document.activeElement,
    within = element.contains(focused);
  mergeChildren(holder, sheet.content);
  if (!within || focused === document.activeElement) return;
  const here = focused.isConnected ? focused : element.querySelector('h1, h2') || document.querySelector('h1');
  if (here !== focused) here?.setAttribute('tabindex', '-1'); // the focused element was removed
  here?.focus({preventScroll: true}); // or moved
};
