// The trigger word and two panels: find and replace, and captioning by a model.
const seen = () => +document.body.dataset.revision || 0;
const word = element.querySelector('#trigger-word'),
  PATIENCE = 5000;
const turns = inTurn(
  (name, text, count) => trigger('trigger_edited', {text, seen: seen(), count}),
  PATIENCE,
  (name, text) => {
    word.dataset.known = text;
    unsent.landed('trigger', text);
  },
);
let timer = 0;
const sendWord = () => {
  clearTimeout(timer);
  const sent = turns.latest('trigger');
  if (word.value !== (sent ?? word.dataset.known ?? '')) turns.put('trigger', word.value);
  else if (sent === undefined) unsent.landed('trigger', word.value);
};
word.addEventListener('input', () => {
  unsent.note('trigger', word.value, word.dataset.known);
  clearTimeout(timer);
  timer = setTimeout(sendWord, 600);
});
word.addEventListener('change', sendWord);
let restored = false;
const restore = () => {
  if (restored || !document.body.dataset.draft) return;
  restored = true;
  for (const {text} of Object.values(unsent.left('trigger'))) word.value = text;
  sendWord();
};
document.addEventListener('velatura:pictures', restore);
setTimeout(restore); // the draft may have arrived already

const toolbox = element.querySelector('.toolbox');
document.addEventListener('velatura:pictures', () => {
  toolbox.hidden = document.body.dataset.pictures === '0';
  // No longer true: a picture without a caption was added, or a caption was removed.
  if (document.body.dataset.captionless !== '0') element.querySelector('[data-none-empty]')?.remove();
  sayReach();
});
const phone = matchMedia('(max-width: 720px)');
const fold = () => {
  toolbox.open = !phone.matches;
};
phone.addEventListener('change', fold);
fold();

const panels = [...element.querySelectorAll('.panel')];
const show = (name, focus = true) => {
  toolbox.open ||= Boolean(name);
  for (const panel of panels) {
    const open = panel.id === name;
    panel.hidden = !open;
    const opener = element.querySelector(`[aria-controls=${panel.id}]`);
    opener.setAttribute('aria-expanded', open);
    if (!open) continue;
    if (focus) panel.querySelector('input, button')?.focus({preventScroll: true});
    panel.scrollIntoView({block: 'nearest'}); // clear of the bars above and below
  }
};
// The panels work on the pictures selected on the wall.
let picked = [],
  pickedEmpty = 0; // how many of them have no caption
// How many captions would be written.
const sayReach = () => {
  const all = element.querySelector('[name=which]:checked').value === 'all',
    {pictures, captionless} = document.body.dataset,
    count = all ? picked.length || +pictures : picked.length ? pickedEmpty : +captionless,
    said = props.words[all ? 'all' : 'empty'][count === 1 ? 'one' : 'other'].replace('{count}', count);
  element.querySelector('.reach').textContent = count ? said : '';
};
element.addEventListener('change', event => {
  if (event.target.name === 'which') sayReach();
  if (event.target.name === 'model') element.querySelector('.server').hidden = event.target.value !== 'server';
});
document.addEventListener('velatura:picked', ({detail}) => {
  pickedEmpty = detail.empty;
  sayReach();
  if (detail.ids.length === picked.length && detail.ids.every((id, k) => id === picked[k])) return;
  picked = detail.ids;
  const said = props.words[picked.length === 1 ? 'one' : 'other'].replace('{count}', picked.length);
  for (const line of element.querySelectorAll('.scope')) {
    line.hidden = !picked.length;
    line.textContent = said;
  }
  if (find.value) preview();
});
document.addEventListener('velatura:panel', ({detail: {panel, which}}) => {
  show(panel);
  if (which) element.querySelector(`#${panel} [name=which][value=${which}]`).checked = true;
  sayReach();
});
element.addEventListener('click', event => {
  const opener = event.target.closest('[aria-controls]'),
    close = event.target.closest('[data-close]');
  if (opener) show(opener.getAttribute('aria-expanded') === 'true' ? '' : opener.getAttribute('aria-controls'));
  if (close) {
    const id = close.closest('.panel').id;
    show('');
    element.querySelector(`[aria-controls=${id}]`).focus();
  }
  const asked = event.target.closest('[data-do]');
  if (asked) trigger('asked', {what: asked.dataset.do, about: asked.dataset.about || '', seen: seen()});
});
element.addEventListener('keydown', event => {
  const panel = event.target.closest('.panel');
  if (event.key === 'Escape' && panel) {
    show('');
    element.querySelector(`[aria-controls=${panel.id}]`).focus();
  }
});

const find = element.querySelector('#find'),
  replace = element.querySelector('#replace-with');
let asking = 0,
  previews = 0; // number of requests: only the answer to the last one is shown
const preview = () => {
  clearTimeout(asking);
  asking = setTimeout(() => {
    const said = {find: find.value, replace: replace.value, ids: picked, seen: seen()};
    trigger('find_edited', {...said, count: ++previews});
  }, 250);
};
[find, replace].forEach(field => field.addEventListener('input', preview));
element.querySelector('#find-panel').addEventListener('submit', event => {
  event.preventDefault();
  clearTimeout(asking);
  previews++;
  const data = {find: find.value, replace: replace.value, ids: picked};
  document.dispatchEvent(new CustomEvent('velatura:edit', {detail: {event: 'captions_replaced', data}}));
});
element.querySelector('#write-panel').addEventListener('submit', event => {
  event.preventDefault();
  const {model, which, url, server_model} = Object.fromEntries(new FormData(event.target));
  trigger('captions_wanted', {model, which, url, server_model, ids: picked, seen: seen()});
});

let shown = 0; // the draft's version of the trigger word shown
const draw = () => {
  const state = props.value || {};
  turns.land(state.ack);
  const isNewest = state.trigger !== undefined && state.version >= shown;
  if (isNewest) shown = state.version;
  if (isNewest && word !== document.activeElement && !unsent.has('trigger')) {
    word.value = state.trigger;
    word.dataset.known = state.trigger;
  }
  if (state.preview !== undefined && (state.of ?? previews) === previews)
    element.querySelector('.preview').innerHTML = state.preview;
  if (state.writing !== undefined) element.querySelector('.writing').innerHTML = state.writing;
  if (state.close) {
    show('', false);
    find.value = replace.value = '';
  }
  toolbox.classList.toggle('is-writing', Boolean(state.busy));
};
watch('value', draw);
draw();
