// Log, settings and details: read when opened, and again while they are open. The log follows its end unless
// somebody has scrolled up.
const EVERY = 5000;
const folds = [...element.querySelectorAll('details')];
const read = fold => trigger('fold_opened', {fold: fold.dataset.fold});
for (const fold of folds) fold.addEventListener('toggle', () => fold.open && read(fold));
setInterval(() => {
  const log = folds[0];
  if (element.isConnected && log.open && !document.hidden && !('ended' in document.body.dataset)) read(log);
}, EVERY);
watch('value', () => {
  const {fold, text} = props.value || {};
  const place = folds.find(one => one.dataset.fold === fold)?.querySelector('pre');
  if (!place || place.textContent === text) return;
  const follows = fold === 'log' && place.scrollHeight - place.scrollTop - place.clientHeight < 24;
  place.textContent = text;
  if (follows) place.scrollTop = place.scrollHeight;
});
