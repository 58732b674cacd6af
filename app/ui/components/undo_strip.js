// The last trash item, until it is restored, dismissed or ten minutes old. Ids in the trash sort by time.
const line = element.querySelector('.undo-strip p'),
  said = line.querySelector('span'),
  undo = line.querySelector('[data-undo]'),
  SEEN = 'velatura-undo-seen';
let item = null,
  fading = 0;
const seen = () => {
  try {
    return sessionStorage.getItem(SEEN) || '';
  } catch {
    return '';
  }
};
const show = (text, canUndo) => {
  clearTimeout(fading);
  if (said.textContent !== text) said.textContent = text;
  undo.hidden = !canUndo;
  line.hidden = !text;
};
const dismiss = id => {
  try {
    sessionStorage.setItem(SEEN, id);
  } catch {
    /* the next page shows it again */
  }
};
document.addEventListener('velatura:now', ({detail}) => {
  const newest = detail.undo;
  if (newest && newest.id > seen() && newest.id !== item?.id) {
    item = newest;
    undo.disabled = false;
    show(newest.line, true);
  } else if (!newest && item) {
    item = null;
    if (!undo.hidden) show('', false);
  }
});
undo.addEventListener('click', () => {
  undo.disabled = true;
  trigger('undone', {about: item.id});
});
element.querySelector('.close').addEventListener('click', () => {
  if (item) dismiss(item.id);
  show('', false);
});
watch('value', () => {
  const {about, text, problem} = props.value;
  if (!about) return;
  dismiss(about);
  show(problem || text, false);
  if (!problem) fading = setTimeout(show, 8000, '', false);
});
