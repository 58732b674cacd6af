// Refreshes the page when the studio has a newer version, at most every so many seconds (the value; 0 for never) and
// only while the page and its step are visible; at once if the user changes the filter or selection (`velatura:look`).
const dropStale = makeStaleGuard();
let pause = 0, // least milliseconds between two refreshes
  shown = 0, // the newest version that was answered
  heard = 0, // the studio's newest version
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
