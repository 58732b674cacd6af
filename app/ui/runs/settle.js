// Ignores clicks for a moment on a button whose action has just changed, or on a menu item that has moved: the user
// meant the former one. Actions that lose nothing are not delayed, nor are keys, as the focus stays.
const SETTLE = 1000,
  HARMLESS = 'summary, [data-fetch], [data-do="stop"]';
const meaning = () =>
  [...element.querySelectorAll('.slot > *, .more[open] [data-key] > *')]
    .map(one => one.dataset.do || one.dataset.fetch || one.getAttribute('href'))
    .join();
let meant = meaning(),
  timer;
new MutationObserver(changes => {
  if (meant === meaning()) return;
  if (meant && !changes.every(({attributeName}) => attributeName === 'open')) {
    element.dataset.settling = element.querySelector('.more[open]') ? 'menu' : '';
    clearTimeout(timer);
    timer = setTimeout(() => delete element.dataset.settling, SETTLE);
  }
  meant = meaning();
}).observe(element, {
  subtree: true,
  childList: true,
  attributes: true,
  attributeFilter: ['data-do', 'data-fetch', 'href', 'open'],
});
element.addEventListener(
  'click',
  event => {
    const {settling} = element.dataset;
    if (settling === undefined || !event.detail || event.target.closest(HARMLESS)) return;
    if (!event.target.closest(settling ? '.slot, .menu' : '.slot')) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);
