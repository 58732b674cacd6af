// Step 2: cards, fields and buttons send events; open elements and text being typed stay.
const fold = () => document.querySelector('#style-settings details.settings');
const PATIENCE = 5000;
let restored = false;
const part = () => element.closest('#style-choices, #style-own, #style-more, #style-settings')?.id || '';
const MOST_BYTES = 300000,
  LONGEST = 20000, // of one setting
  MOST_FILES = 11; // one more than the server accepts
let awaited = false; // whether a requested report is to be scrolled into view
const read = settings => {
  awaited = true;
  trigger('settings_read', {...settings, open: Boolean(fold()?.open), of: part()});
};
// Of a style file, only the metadata are read; its header begins with its length (8 bytes).
const readMetadata = async file => {
  try {
    const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
    const {__metadata__: metadata = {}} = JSON.parse(await file.slice(8, 8 + length).text());
    return JSON.stringify(Object.fromEntries(Object.entries(metadata).filter(([, text]) => text.length < LONGEST)));
  } catch {
    return '{}'; // the server reports it
  }
};
// Files that belong together, such as a script and its dataset config, are read together.
const readFiles = async list => {
  const files = [...list].slice(0, MOST_FILES).map(async file => ({
    name: file.name,
    text: await (/\.safetensors$/i.test(file.name) ? readMetadata(file) : file.slice(0, MOST_BYTES).text()),
  }));
  if (files.length) read({files: await Promise.all(files)});
};
const ask = (what, about = '', more = {}) =>
  trigger('asked', {what, about, open: Boolean(fold()?.open), of: part(), ...more});
// A typed setting or chosen card is sent until the server has it.
const SETTING = 'setting',
  CARD = 'card';
const turns = inTurn(
  (name, text, count) => {
    const [kind, what, ...about] = name.split(':');
    if (kind === CARD) ask(what, text, {count});
    else ask(what, about.join(':'), {text, count});
  },
  PATIENCE,
  unsent.landed,
);
// The name under which a field's value is sent; undefined for fields whose button names the action.
const nameOf = ({dataset: {setting, ask: what, about = ''}}) =>
  setting ? [SETTING, 'set', setting].join(':') : what ? [SETTING, what, about].join(':') : '';
const put = (name, text) => {
  unsent.note(name, text);
  turns.put(name, text);
};
const pick = (name, value) => turns.put(`${CARD}:${name}`, value);
// Several parts answer a request of one.
document.addEventListener('velatura:acknowledged', ({detail}) => detail.of === part() && turns.land(detail.count));
const restore = () => {
  // One of the parts sends for all.
  if (restored || !document.body.dataset.draft || part() !== 'style-choices') return;
  restored = true;
  for (const [name, {text}] of Object.entries(unsent.left(`${SETTING}:`))) put(name, text);
};
document.addEventListener('velatura:pictures', restore);
setTimeout(restore); // the draft may have arrived already
element.addEventListener('change', event => {
  const field = event.target;
  if (field.type === 'radio') pick(field.name, field.value);
  const typed = field.type === 'checkbox' ? (field.checked ? 'on' : 'off') : field.value;
  if (nameOf(field)) put(nameOf(field), typed);
  if (field.type === 'file') {
    readFiles(field.files);
    field.value = '';
  }
});
whenDropped(
  () => part() === 'style-own' && element.getClientRects().length > 0,
  () => {},
  ({files}) => readFiles(files),
);
// A command line or settings file pasted outside a setting is read like a file.
const SETTINGS = /(^|\s)--\w+|^\s*[{[]|^\s*\w+ *= */;
document.addEventListener('paste', event => {
  const field = event.target.closest?.('input, textarea');
  if (part() !== 'style-settings' || !fold()?.open || !element.getClientRects().length) return;
  if (field && field.id !== 'settings-search') return;
  const text = event.clipboardData.getData('text/plain');
  if (!SETTINGS.test(text)) return;
  event.preventDefault();
  read({files: [{name: fold().dataset.pasted, text: text.slice(0, MOST_BYTES)}]});
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]'),
    opener = event.target.closest('[data-opens]');
  if (button) {
    if (['report', 'repair-import'].includes(button.dataset.do)) awaited = true;
    button.disabled = true;
    setTimeout(() => {
      button.disabled = false;
    }, 1500);
    turns.afterwards(() => ask(button.dataset.do, button.dataset.about));
  }
  if (event.target.closest('[data-export]')) turns.afterwards(() => ask('export'));
  if (!opener) return;
  const opened = document.getElementById(opener.dataset.opens);
  if (opened.type === 'file') return opened.click();
  opened.open = true;
  opened.querySelector('summary').focus();
  opened.scrollIntoView({block: 'nearest'});
});
// The way to step 3 leads to a report whose settings are neither used nor discarded.
document.addEventListener('click', event => {
  const first = element.querySelector('.report [data-first]');
  if (!first || !event.target.closest?.('a[href="#start"]')) return;
  event.preventDefault();
  first.hidden = false;
  first.closest('.report').scrollIntoView({block: 'start'});
  element.querySelector('.report [data-do=use-import]').focus({preventScroll: true});
});
element.addEventListener('submit', event => {
  event.preventDefault();
  const form = event.target,
    field = form.querySelector('input');
  if (form.matches('.by-name')) ask('base', field.value);
  if (form.matches('.save-preset')) ask('save-preset', '', {text: field.value});
  renaming.delete(field);
  if (form.matches('.rename')) ask('rename-preset', form.dataset.about, {text: field.value});
  if (form.matches('.token')) {
    ask('log-in', form.dataset.model, {token: field.value});
    field.value = '';
  }
});
element.addEventListener('keydown', event => {
  // Enter in a field keeps its text
  if (event.key === 'Enter' && event.target.matches('input[data-setting], input[data-ask]')) event.target.blur();
});
element.addEventListener(
  'toggle',
  event => {
    // the server sends fields when they are first visible
    if (event.target === fold() && event.target.open && element.querySelector('[data-later]')) ask('open');
    if (event.target.id === 'advanced' && event.target.open !== Boolean(event.target.querySelector('.methods')))
      ask('advanced', '', {text: event.target.open ? 'on' : 'off'});
  },
  true,
);
const renaming = new WeakSet(); // fields with unsent text
const search = () => {
  const field = element.querySelector('#settings-search');
  if (!field) return;
  const words = field.value.toLowerCase().replace(/_/g, ' ').split(/\s+/).filter(Boolean);
  let any = false;
  for (const part of element.querySelectorAll('.settings .fold')) {
    let some = false;
    for (const row of part.querySelectorAll('.setting')) {
      row.hidden = !words.every(word => row.dataset.search.includes(word));
      some ||= !row.hidden;
    }
    part.hidden = !some;
    if (words.length && some) {
      if (!part.open) part.dataset.searched = '';
      part.open = true;
    }
    if (!words.length && 'searched' in part.dataset) {
      part.open = false;
      delete part.dataset.searched;
    }
    any ||= some;
  }
  element.querySelector('.none-found').hidden = any;
};
element.addEventListener('input', event => {
  if (event.target.id === 'settings-search') search();
  if (event.target.closest('form')) renaming.add(event.target);
  if (event.target.matches('input[type=text], textarea') && nameOf(event.target))
    unsent.note(nameOf(event.target), event.target.value);
});
let wanted = -Infinity;
// The server sends fields only to a page whose fold is open; an answer to another step may lack them.
const fillFold = () => {
  const open = fold()?.open && element.contains(fold());
  if (!open || !element.querySelector('[data-later]') || performance.now() - wanted < 2000) return;
  wanted = performance.now();
  ask('open');
};
let saved = '';
const settle = () => {
  // after a patch: properties follow the server's values
  settleFields(
    element,
    field => field === document.activeElement || (nameOf(field) ? unsent.has(nameOf(field)) : renaming.has(field)),
  );
  // A choice stays until the server has it, whatever arrives meanwhile.
  for (const field of element.querySelectorAll('[type=radio], [type=checkbox], select')) {
    const latest = turns.latest(field.type === 'radio' ? `${CARD}:${field.name}` : nameOf(field));
    if (latest === undefined) continue;
    if (field.matches('select')) field.value = latest;
    else field.checked = latest === (field.type === 'radio' ? field.value : 'on');
  }
  search();
  fillFold();
  const answer = element.querySelector('.said > :first-child');
  if (awaited && answer?.matches('.report, .problem')) {
    awaited = false;
    answer.querySelector('h4')?.focus({preventScroll: true});
    answer.scrollIntoView({block: answer.matches('.report') ? 'start' : 'nearest'});
  }
  const file = element.querySelector('template[data-save]');
  if (!file || file.dataset.key === saved) return;
  saved = file.dataset.key;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([file.content.textContent], {type: 'application/toml'}));
  link.download = file.dataset.save;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const KEPT_OF = / data-of="([\w-]+)"/;
watch('value', () => {
  const of = KEPT_OF.exec(props.value)?.[1];
  const detail = {of, count: answeredIn(props.value)};
  if (of) document.dispatchEvent(new CustomEvent('velatura:acknowledged', {detail}));
  setTimeout(settle);
});
setTimeout(settle);
