// The filter, the selection, and bulk actions.
let editor = null, // of one picture, imported when one is first opened
  importing = null;
const openEditor = async id => {
  importing ||= import('./editor.js').then(module => {
    editor = module.default({
      ...{element, trigger, words, rows, place, fill, says, settle, framed, seen, reach, everything},
      ...{isDeleted, remove, perform, send, shown: () => shown, nextCount: () => ++count},
    });
  });
  try {
    await importing;
  } catch {
    importing = null; // the bar at the top tells that the server is away
  }
  if (editor && rows.has(id)) editor.open(id);
};
const picked = new Set();
let anchor = null,
  sought = {text: '', kind: 'all', tags: new Set()};
const filters = element.querySelector('.filters'),
  selection = element.querySelector('.selection'),
  crops = selection.querySelector('.crops'),
  told = element.querySelector('.wall > .told'),
  everything = element.querySelector('.pick-all'),
  rail = element.querySelector('.tags');
const MOST_TAGS = 200;
const tagsOf = (caption, byComma) =>
  (byComma ? caption.split(',') : caption.toLowerCase().match(/[\p{L}\p{N}'-]{3,}/gu) || [])
    .map(tag => tag.trim())
    .filter(Boolean);
let byComma = false;
const matches = id => {
  const row = rows.get(id),
    {text, kind, tags} = sought;
  if (text && !`${row.name}\n${textOf(id)}`.toLowerCase().includes(text)) return false;
  if (tags.size) {
    const own = new Set(tagsOf(textOf(id), byComma));
    if (![...tags].every(tag => own.has(tag))) return false;
  }
  if (kind === 'all') return true;
  if (kind === 'region') return Boolean(row.crop || row.mask || row.rotation);
  if (kind === 'picked') return picked.has(id);
  if (kind === 'no caption') return !textOf(id);
  return row.notes.some(note => note[0] === kind);
};
const filtering = () => sought.text || sought.kind !== 'all' || sought.tags.size;
// A visible picture stays until the filter changes: it must not vanish while its caption is typed.
const refilter = anew => {
  const kept = new Set(anew ? [] : shown);
  shown = filtering() ? order.filter(id => kept.has(id) || matches(id)) : [...order];
  told.textContent = !filtering()
    ? ''
    : shown.length
      ? fill(words.shown, {shown: shown.length, all: order.length})
      : words.none;
  layout();
  showPicked();
};
const showPicked = () => {
  for (const id of picked) if (!rows.has(id)) picked.delete(id);
  selection.hidden = !picked.size;
  wall.classList.toggle('picking', picked.size > 0);
  const said = picked.size === 1 ? words.picked.one : fill(words.picked.other, {count: picked.size});
  if (picked.size) selection.querySelector('b').textContent = said;
  everything.checked = shown.length > 0 && shown.every(id => picked.has(id));
  everything.indeterminate = picked.size > 0 && !everything.checked;
  for (const [id, card] of cards) {
    card.classList.toggle('picked', picked.has(id));
    card.querySelector('.pick').checked = picked.has(id);
  }
  const ids = [...picked],
    empty = ids.filter(id => !rows.get(id).caption).length;
  document.dispatchEvent(new CustomEvent('velatura:picked', {detail: {ids, empty}}));
};
const closeCrops = () => {
  crops.open = false;
  crops.querySelector('summary').focus();
};
const selected = () => {
  outcome.textContent = '';
  showPicked();
};
const pick = (id, {range = false, on = !picked.has(id)} = {}) => {
  const from = shown.indexOf(range ? anchor : id),
    to = shown.indexOf(id);
  const some = from < 0 ? [id] : shown.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of some) on || range ? picked.add(one) : picked.delete(one);
  if (!range) anchor = id;
  selected();
};
const pickAll = () => {
  shown.forEach(id => picked.add(id));
  selected();
};
const pickNone = () => {
  picked.clear();
  selected();
};
list.addEventListener('click', event => {
  const card = event.target.closest('li');
  if (!card) return;
  const id = card.dataset.key;
  if (event.target.matches('.pick')) pick(id, {range: event.shiftKey, on: event.target.checked});
  else if (event.target.matches('.open')) {
    if (event.shiftKey) pick(id, {range: true});
    else if (event.ctrlKey || event.metaKey) pick(id);
    else openEditor(id);
  }
});
everything.addEventListener('click', () => (everything.checked ? pickAll() : pickNone()));
selection.querySelector('.close').addEventListener('click', () => {
  pickNone();
  everything.focus();
});
const removed = new Set(); // here, not in another tab
const remove = ids => {
  ids.forEach(id => removed.add(id));
  perform('pictures_changed', {what: 'delete', ids, text: ''});
};
list.addEventListener('keydown', event => {
  if (!event.target.matches('.open')) return;
  const id = idOf(event.target),
    index = shown.indexOf(id),
    rtl = getComputedStyle(list).direction === 'rtl' ? -1 : 1;
  const step = {ArrowRight: rtl, ArrowLeft: -rtl, ArrowDown: columns, ArrowUp: -columns}[event.key];
  if (step) {
    const next = shown[index + step];
    event.preventDefault();
    if (!next) return;
    if (event.shiftKey) {
      anchor ??= id;
      pick(next, {range: true});
    }
    reach(next, '.open');
  } else if (event.key === ' ') {
    event.preventDefault();
    pick(id, {range: event.shiftKey});
  } else if (event.key === 'Delete') {
    event.preventDefault();
    const ids = picked.has(id) ? [...picked] : [id],
      next = shown.slice(index).find(one => !ids.includes(one)) ?? shown.find(one => !ids.includes(one));
    remove(ids);
    if (next) reach(next, '.open');
  }
});
document.addEventListener('keydown', event => {
  if (!list.clientWidth || document.querySelector('dialog[open]')) return;
  if (event.target.matches('input:not([type=checkbox]):not([type=range]), textarea, select')) return;
  if ((event.ctrlKey || event.metaKey) && event.key === 'a' && shown.length) {
    event.preventDefault();
    pickAll();
  } else if (event.key === 'Escape' && crops.open) closeCrops();
  else if (event.key === 'Escape' && picked.size) pickNone();
});
for (const box of element.querySelectorAll('.aspects'))
  for (const ratio of words.aspects) {
    const button = Object.assign(document.createElement('button'), {type: 'button', className: 'quiet'});
    button.dataset.aspect = button.textContent = ratio;
    box.append(button);
  }
selection.addEventListener('click', event => {
  const {bulk, panel, aspect, rotate} = event.target.closest('button')?.dataset || {},
    field = selection.querySelector('input.words'),
    text = field.value.trim(),
    ids = [...picked];
  if (panel) document.dispatchEvent(new CustomEvent('velatura:panel', {detail: {panel}}));
  if (aspect !== undefined) {
    closeCrops();
    perform('pictures_changed', {what: 'crop', ids, text: '', aspect: aspect || null});
  } else if (bulk === 'delete') remove(ids);
  else if (rotate) perform('pictures_changed', {what: +rotate < 0 ? 'rotate-left' : 'rotate-right', ids, text: ''});
  else if (!['add-before', 'add-after', 'remove-words', 'group'].includes(bulk)) return;
  else if (!text) field.focus();
  else perform('pictures_changed', {what: bulk, ids, text});
});
selection.querySelector('input.words').addEventListener('keydown', event => {
  if (event.key === 'Enter') selection.querySelector('[data-bulk=add-after]').click();
});
filters.addEventListener('input', event => {
  if (event.target.matches('.find')) sought.text = event.target.value.trim().toLowerCase();
  else if (event.target.matches('.show')) sought.kind = event.target.value;
  else return;
  refilter(true);
});
// A hint above the wall filters its pictures, as a further option until another is chosen.
const showing = filters.querySelector('.show');
const forgetAsked = () => showing.querySelector('[data-asked]:not(:checked)')?.remove();
showing.addEventListener('change', forgetAsked);
document.addEventListener('velatura:show', ({detail}) => {
  sought.kind = detail.kind;
  if (![...showing.options].some(option => option.value === detail.kind)) {
    const option = new Option(fill(words.asked, detail), detail.kind);
    option.dataset.asked = '';
    showing.append(option);
  }
  showing.value = detail.kind;
  forgetAsked();
  refilter(true);
  if (shown.length) reach(shown[0], '.open');
});
// The rail counts the words of all captions; a click on one filters the pictures with it.
const opener = filters.querySelector('button.words');
const countTags = () => {
  if (rail.hidden) return;
  const captions = order.map(textOf),
    counts = new Map();
  byComma = captions.filter(caption => caption.includes(',')).length > captions.length / 3;
  for (const caption of captions)
    for (const tag of new Set(tagsOf(caption, byComma))) counts.set(tag, (counts.get(tag) || 0) + 1);
  const all = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  const made = all.slice(0, MOST_TAGS).map(([tag, number]) => {
    const item = document.createElement('li'),
      button = document.createElement('button'),
      share = document.createElement('i');
    button.type = 'button';
    button.dataset.tag = tag;
    button.setAttribute('aria-pressed', sought.tags.has(tag));
    share.textContent = number;
    button.append(tag, ' ', share);
    item.append(button);
    return item;
  });
  const held = rail.contains(document.activeElement) && document.activeElement.dataset.tag;
  rail.querySelector('ul').replaceChildren(...made);
  rail.querySelector('.hint').textContent =
    all.length > MOST_TAGS ? fill(words.most, {count: MOST_TAGS}) : all.length ? '' : words.no_words;
  if (held) rail.querySelector(`[data-tag="${CSS.escape(held)}"]`)?.focus();
};
const showRail = open => {
  rail.hidden = !open;
  opener.setAttribute('aria-expanded', open);
  if (!open && sought.tags.size) {
    sought.tags.clear();
    refilter(true);
  }
  countTags();
  layout();
};
// Where there is room, it stands until it is closed.
const roomy = matchMedia('(min-width: 1200px)');
const showByRoom = () => showRail(roomy.matches && remembered('velatura-words') !== 'closed');
roomy.addEventListener('change', showByRoom);
showByRoom();
opener.addEventListener('click', () => {
  if (roomy.matches) keepInMind('velatura-words', rail.hidden ? 'open' : 'closed');
  showRail(rail.hidden);
});
rail.addEventListener('click', event => {
  const {tag} = event.target.closest('[data-tag]')?.dataset || {};
  if (tag === undefined) return;
  sought.tags.has(tag) ? sought.tags.delete(tag) : sought.tags.add(tag);
  refilter(true);
  countTags();
});
