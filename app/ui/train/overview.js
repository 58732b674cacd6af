// The hints above the wall: they filter their pictures, or open the panel that helps. The settings of groups are sent
// until the server has them.
const FOLDER = 'folder',
  PATIENCE = 5000;
let restored = false;
const turns = inTurn(
  (name, text, count) => {
    const [, setting, ...folder] = name.split(':');
    const seen = +document.body.dataset.revision || 0;
    trigger('folder_setting_typed', {folder: folder.join(':'), name: setting, text, count, seen});
  },
  PATIENCE,
  unsent.landed,
);
const nameOf = field => {
  const folder = field.closest('[data-folder]')?.dataset.folder;
  return folder && [FOLDER, field.dataset.setting.split('.').pop(), folder].join(':');
};
element.addEventListener('click', event => {
  const {show, line, panel} = event.target.closest('button')?.dataset || {};
  if (show) document.dispatchEvent(new CustomEvent('velatura:show', {detail: {kind: show, line}}));
  if (panel) document.dispatchEvent(new CustomEvent('velatura:panel', {detail: {panel, which: 'empty'}}));
});
element.addEventListener('input', ({target}) => nameOf(target) && unsent.note(nameOf(target), target.value));
element.addEventListener('change', ({target}) => nameOf(target) && turns.put(nameOf(target), target.value));
element.addEventListener('keydown', event => {
  if (event.key === 'Enter' && event.target.matches('input[data-setting]')) event.target.blur();
});
const restore = () => {
  if (restored || !document.body.dataset.draft) return;
  restored = true;
  for (const [name, {text}] of Object.entries(unsent.left(`${FOLDER}:`))) turns.put(name, text);
};
document.addEventListener('velatura:pictures', restore);
setTimeout(restore); // the draft may have arrived already
const settle = () => {
  settleFields(element, field => field === document.activeElement || unsent.has(nameOf(field)));
  for (const field of element.querySelectorAll('select')) field.value = turns.latest(nameOf(field)) ?? field.value;
};
watch('value', () => {
  turns.land(answeredIn(props.value));
  setTimeout(settle);
});
