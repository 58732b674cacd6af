// Brings what stands in a part up to the newest value that the server sent. While somebody holds something of it
// (`data-held`), nothing moves under the hand.
const holder = element.querySelector('div'),
  dropStale = makeStaleGuard();
let value = '',
  pressed = null; // a button that had the focus until it was disabled
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
  if (here !== focused) here?.setAttribute('tabindex', '-1'); // what had the focus is no more
  here?.focus({preventScroll: true}); // or was moved
};
