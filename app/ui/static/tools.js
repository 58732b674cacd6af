// The trigger word, and the two panels: finding and replacing, and letting a model write.
const seen = () => +document.body.dataset.revision || 0;
const word = element.querySelector('#trigger-word');
let timer = 0;
const sendWord = () => { clearTimeout(timer); if (word.value !== word.dataset.known) { word.dataset.known = word.value; trigger('worded', {text: word.value, seen: seen()}); } };
word.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(sendWord, 600); });
word.addEventListener('change', sendWord);

const toolbox = element.querySelector('.toolbox');
document.addEventListener('velatura:pictures', () => { toolbox.hidden = document.body.dataset.pictures === '0'; });

const panels = [...element.querySelectorAll('.panel')];
const show = (name, focus = true) => {
  for (const panel of panels) {
    const open = panel.id === name;
    panel.hidden = !open;
    const opener = element.querySelector(`[aria-controls=${panel.id}]`);
    opener.setAttribute('aria-expanded', open);
    if (open && focus) panel.querySelector('input, button')?.focus();
  }
};
element.addEventListener('click', event => {
  const opener = event.target.closest('[aria-controls]'), close = event.target.closest('[data-close]');
  if (opener) show(opener.getAttribute('aria-expanded') === 'true' ? '' : opener.getAttribute('aria-controls'));
  if (close) { const id = close.closest('.panel').id; show(''); element.querySelector(`[aria-controls=${id}]`).focus(); }
  const asked = event.target.closest('[data-do]');
  if (asked) trigger('asked', {what: asked.dataset.do, about: asked.dataset.about || '', seen: seen()});
});
element.addEventListener('keydown', event => {
  const panel = event.target.closest('.panel');
  if (event.key === 'Escape' && panel) { show(''); element.querySelector(`[aria-controls=${panel.id}]`).focus(); }
});

const find = element.querySelector('#find'), replace = element.querySelector('#replace-with');
let asking = 0;
const preview = () => { clearTimeout(asking); asking = setTimeout(() => trigger('previewed', {find: find.value, replace: replace.value, seen: seen()}), 250); };
[find, replace].forEach(field => field.addEventListener('input', preview));
element.querySelector('#find-panel').addEventListener('submit', event => {
  event.preventDefault();
  clearTimeout(asking);
  trigger('replaced', {find: find.value, replace: replace.value, seen: seen()});
});
element.querySelector('#write-panel').addEventListener('submit', event => {
  event.preventDefault();
  const chosen = new FormData(event.target);
  trigger('captioned', {model: chosen.get('model'), which: chosen.get('which'), seen: seen()});
});

const draw = () => {
  const state = props.value || {};
  if (word !== document.activeElement && state.trigger !== undefined) { word.value = state.trigger; word.dataset.known = state.trigger; }
  if (state.preview !== undefined) element.querySelector('.preview').innerHTML = state.preview;
  if (state.writing !== undefined) element.querySelector('.writing').innerHTML = state.writing;
  if (state.close) show('', false);
  toolbox.classList.toggle('is-writing', Boolean(state.busy));
};
watch('value', draw);
draw();
