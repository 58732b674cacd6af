// Keys of the vote. A pair is voted on once, and only while both pictures are in view: then it is `data-seen`.
const KEYS = {ArrowLeft: 'left', ArrowRight: 'right', ArrowDown: 'tie', ' ': 'tie', u: 'undo', U: 'undo'},
  ANSWERED = 5000; // milliseconds
const {dataset} = element;
const pair = () => element.querySelector('.ballot')?.dataset.ballot;
const look = async () => {
  const now = pair();
  if (now === dataset.seen) return;
  delete dataset.seen;
  await Promise.all([...element.querySelectorAll('.side img')].map(image => image.decode().catch(() => {})));
  if (now && pair() === now) dataset.seen = now;
};
element.addEventListener(
  'click',
  event => {
    const link = event.target.closest('.result'); // only now does it name steps
    if (link) link.href = `steps${location.search.replace(/&?vote=1/, '')}`;
    if (!pair() || !event.target.closest('[data-do]')) return;
    if (!dataset.seen) event.stopImmediatePropagation();
    delete dataset.seen;
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
