// Keys of the vote. A pair is voted on once, and only while it is in view.
const KEYS = {ArrowLeft: 'left', ArrowRight: 'right', ArrowDown: 'tie', ' ': 'tie', u: 'undo', U: 'undo'};
const ANSWERED = 5000; // milliseconds
let shown = ''; // the pair whose pictures are in view
const ballot = () => element.querySelector('.ballot');
const look = async () => {
  const link = element.querySelector('.result'),
    now = ballot()?.dataset.ballot ?? '';
  if (link) link.href = `steps${location.search.replace(/&?vote=1/, '')}`;
  if (!now || now === shown) return;
  shown = '';
  ballot().classList.add('waits');
  await Promise.all([...element.querySelectorAll('.side img')].map(image => image.decode().catch(() => {})));
  if (ballot()?.dataset.ballot !== now) return;
  ballot().classList.remove('waits');
  shown = now;
};
element.addEventListener(
  'click',
  event => {
    if (!event.target.closest('[data-do]')) return;
    if (!shown) event.stopImmediatePropagation();
    shown = '';
    setTimeout(look, ANSWERED);
  },
  true,
);
document.addEventListener('keydown', event => {
  const button = element.isConnected && KEYS[event.key] && element.querySelector(`[data-do=${KEYS[event.key]}]`);
  if (!button || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === ' ' && event.target.closest('button, a, summary')) return; // presses that one
  event.preventDefault();
  button.click();
});
watch('value', () => setTimeout(look));
setTimeout(look);
