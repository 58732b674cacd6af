// Looks again whenever the studio has a newer version than the page: no more often than every so many seconds, the
// value (0 for never), and only while the page and its step are visible; at once where somebody has chosen what is
// shown (`velatura:look`).
const dropStale = makeStaleGuard();
let pause = 0, // milliseconds between two looks at least
  shown = 0, // the newest version that was answered
  heard = 0, // that of the studio
  asked = -Infinity,
  waiting = 0;
const askNow = () => {
  asked = performance.now();
  trigger('outdated', {});
};
const isSeen = () =>
  !document.hidden && element.isConnected && (props.on_every_step || !element.closest('.step:not(.shown)'));
const ask = () => {
  waiting = 0;
  if (heard > shown && pause && isSeen()) askNow();
};
const askSoon = () => {
  clearTimeout(waiting);
  waiting = heard > shown && pause ? setTimeout(ask, Math.max(0, asked + pause - performance.now())) : 0;
};
document.addEventListener('velatura:now', ({detail}) => {
  heard = detail.version;
  askSoon();
});
document.addEventListener('visibilitychange', askSoon);
document.addEventListener('velatura:look', () => element.isConnected && askNow());
const answered = () => {
  const seconds = dropStale(props.value);
  if (seconds === null) return;
  pause = 1000 * Number(seconds);
  shown = Math.max(shown, versionOf(props.value));
  askSoon();
};
watch('value', answered);
answered();
