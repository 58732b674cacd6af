// Brings what stands in the page up to the value that the server sent, node by node: pictures stay loaded, what is open
// stays open, fields keep their words. Children with a `data-key` are found again wherever they have moved. While
// somebody holds something of it (`data-held`), nothing moves under the hand. A later answer may overtake one: what has
// a lower `data-revision` than what is shown was drawn before it and is passed over.
const holder = element.querySelector('div');
const keyed = node => node.nodeType === 1 && node.dataset.key;
const same = (old, fresh) => old.nodeName === fresh.nodeName && keyed(old) === keyed(fresh);
const merge = (old, fresh) => {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  const kept = name => name === 'open' && 'keep' in old.dataset;
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name) && !kept(name)) old.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (!('island' in old.dataset)) mergeChildren(old, fresh);
};
const mergeChildren = (old, fresh) => {
  const known = new Map([...old.children].filter(keyed).map(node => [node.dataset.key, node]));
  let place = old.firstChild;
  for (const part of [...fresh.childNodes]) {
    let here = keyed(part) ? known.get(part.dataset.key) : place && !keyed(place) && same(place, part) ? place : null;
    if (here) merge(here, part);
    else here = part.cloneNode(true);
    if (here === place) place = place.nextSibling;
    else old.insertBefore(here, place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
};
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
