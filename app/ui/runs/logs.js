// Log, settings and details, requested when opened; the log also while the run goes on. It follows its end unless the
// user has scrolled up.
const PAUSE = 5000;
const folds = [...element.querySelectorAll('details')],
  log = folds[0];
let waiting = 0;
const read = fold => trigger('fold_opened', {fold: fold.dataset.fold});
for (const fold of folds) fold.addEventListener('toggle', () => fold.open && read(fold));
element.querySelector('[data-save]').addEventListener('click', () => trigger('fetched', {file: 'report'}));
document.addEventListener('velatura:changed', () => {
  if (!log.open || 'ended' in document.body.dataset) return;
  waiting ||= setTimeout(() => {
    waiting = 0;
    if (element.isConnected && log.open) read(log);
  }, PAUSE);
});
watch('value', () => {
  const {fold, text} = props.value || {};
  const place = folds.find(one => one.dataset.fold === fold)?.querySelector('pre');
  if (!place || place.textContent === text) return;
  const follows = fold === 'log' && place.scrollHeight - place.scrollTop - place.clientHeight < 24;
  place.textContent = text;
  if (follows) place.scrollTop = place.scrollHeight;
});
