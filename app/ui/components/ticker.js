// Asks what has become of a page's parts whenever the queue has changed: no more often than every so many seconds, the
// value, and only while somebody looks.
let asked = 0,
  waiting = 0;
const pace = () => 1000 * Number(props.value);
const ask = () => {
  waiting = 0;
  if (document.hidden || !element.isConnected || !pace()) return;
  asked = Date.now();
  trigger('ticked', {});
};
const askSoon = () => {
  waiting ||= setTimeout(ask, Math.max(0, asked + pace() - Date.now()));
};
document.addEventListener('velatura:changed', askSoon);
document.addEventListener('visibilitychange', askSoon);
// A look that was put off by a slower pace than the new one comes sooner.
watch('value', () => {
  if (!waiting) return;
  clearTimeout(waiting);
  waiting = 0;
  askSoon();
});
