// A button beside the menu that has just come to mean something else does nothing for a moment: whoever was about to
// press it meant what it did before.
const SETTLE = 1000;
const meaning = () =>
  [...element.querySelectorAll('.slot > *')]
    .map(one => one.dataset.do || one.dataset.fetch || one.getAttribute('href'))
    .join();
let meant = meaning(),
  timer;
new MutationObserver(() => {
  if (meant === meaning()) return;
  if (meant) {
    element.dataset.settling = '';
    clearTimeout(timer);
    timer = setTimeout(() => delete element.dataset.settling, SETTLE);
  }
  meant = meaning();
}).observe(element, {
  subtree: true,
  childList: true,
  attributes: true,
  attributeFilter: ['data-do', 'data-fetch', 'href'],
});
element.addEventListener(
  'click',
  event => {
    if (!('settling' in element.dataset) || !event.target.closest('.slot')) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);
