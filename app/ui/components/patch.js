// Brings what stands in a part up to the value that the server sent. While somebody holds something of it
// (`data-held`), nothing moves under the hand. A later answer may overtake one: what has a lower `data-revision` than
// what is shown was drawn before it and is passed over.
const holder = element.querySelector('div');
let newest = 0;
const patch = () => {
  if ('held' in element.dataset) return;
  const sheet = document.createElement('template');
  sheet.innerHTML = props.value || '';
  const revision = Number(sheet.content.querySelector('[data-revision]')?.dataset.revision ?? newest);
  if (revision < newest) return;
  newest = revision;
  const focused = document.activeElement,
    within = element.contains(focused);
  mergeChildren(holder, sheet.content);
  if (!within || focused === document.activeElement) return;
  const here = focused.isConnected ? focused : element.querySelector('h1, h2') || document.querySelector('h1');
  if (here !== focused) here?.setAttribute('tabindex', '-1'); // what had the focus is no more
  here?.focus({preventScroll: true}); // or was moved
};
