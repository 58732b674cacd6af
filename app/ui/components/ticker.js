// Asks what has become of a page's parts whenever the queue has changed: no more often than every so many seconds, the
// value, and only while somebody looks; at once where somebody has chosen what is shown (`velatura:look`).
let asked = -Infinity,
  waiting = 0;
const pace = () => 1000 * Number(props.value.split(' ')[0]);
const askNow = () => {
  asked = performance.now();
  trigger('ticked', {});
};
const ask = () => {
  waiting = 0;
  if (!document.hidden && element.isConnected && pace()) askNow();
};
const askSoon = () => {
  waiting ||= setTimeout(ask, Math.max(0, asked + pace() - performance.now()));
};
document.addEventListener('velatura:changed', askSoon);
document.addEventListener('visibilitychange', askSoon);
document.addEventListener('velatura:look', () => element.isConnected && askNow());
// What has changed between the page's first look and the first that it hears of the queue is told by nothing else.
let since = 0, // when the queue was as the page has heard first
  compared = false;
const compare = () => {
  const began = Number(props.value.split(' ')[1]);
  if (compared || !began || !since) return;
  compared = true;
  if (since > began) askSoon();
};
document.addEventListener('velatura:now', ({detail}) => {
  since ||= detail.since;
  compare();
});
// A look that was put off by a slower pace than the new one comes sooner.
watch('value', () => {
  compare();
  if (!waiting) return;
  clearTimeout(waiting);
  waiting = 0;
  askSoon();
});
