// Updates the page's nodes to the server's HTML: loaded pictures and open elements stay. Children with a `data-key` are
// matched wherever they have moved. Elements with `data-later` come in a later answer; while their fold is open, their
// content stays.
const keyed = node => node.nodeType === 1 && node.dataset.key;
const same = (old, fresh) => old.nodeName === fresh.nodeName && keyed(old) === keyed(fresh);
const merge = (old, fresh) => {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  const kept = name =>
    name === 'open' ? 'keep' in old.dataset : name === 'tabindex' && old === document.activeElement;
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name) && !kept(name)) old.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const waits = 'later' in fresh.dataset && old.closest('details')?.open;
  if (!('scripted' in old.dataset) && !waits) mergeChildren(old, fresh);
};
const mergeChildren = (old, fresh) => {
  const known = new Map([...old.children].filter(keyed).map(node => [node.dataset.key, node]));
  const wanted = new Set([...fresh.children].filter(keyed).map(node => node.dataset.key));
  // Removals come first: nothing else has to move then, and a moved node loses the focus.
  for (const [key, node] of known) if (!wanted.has(key)) node.remove();
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
