// The caption editor. It draws the cards that the server sends, keyed by picture: an update never refetches a picture,
// moves the focus or touches a field in which somebody is typing. What is typed is sent when typing pauses.
const list = element.querySelector('ul'),
  PAUSE = 600,
  PATIENCE = 5000;
const waiting = new Map(); // fields whose captions are to be sent, by picture
const before = new Map(); // what an earlier page had been shown of them
let flying = null,
  count = 0,
  timer = 0; // one edit is on its way at a time, so that they arrive in order
const seen = () => +document.body.dataset.revision || 0;

// A field's `value` attribute is what the server knows; its property is what stands in it.
const send = () => {
  clearTimeout(timer);
  if (flying || !waiting.size) return;
  const [id, field] = waiting.entries().next().value;
  waiting.delete(id);
  const known = field.getAttribute('value') || '',
    was = before.get(id) ?? known;
  if (field.value === known) {
    unsent.landed(`caption:${id}`, known);
    return send();
  }
  flying = {id, field, text: field.value, count: ++count};
  trigger('caption_edited', {id, text: field.value, was, seen: seen(), count});
  const mine = flying;
  setTimeout(() => {
    if (flying === mine) {
      flying = null;
      waiting.set(id, field);
      send();
    }
  }, PATIENCE);
};
const landed = () => {
  flying.field.setAttribute('value', flying.text);
  before.delete(flying.id);
  unsent.landed(`caption:${flying.id}`, flying.text);
  flying = null;
};
const noted = field => {
  const {id} = field.closest('li').dataset;
  waiting.set(id, field);
  unsent.note(`caption:${id}`, field.value, before.get(id) ?? (field.getAttribute('value') || ''));
};
// What an earlier page could not send stands in the fields again, and is sent with what that page had been shown.
const restore = () => {
  for (const [name, {text, was}] of Object.entries(unsent.left('caption:'))) {
    const id = name.slice('caption:'.length),
      field = list.querySelector(`li[data-id="${CSS.escape(id)}"] textarea`);
    if (!field || field.getAttribute('value') === text) {
      unsent.landed(name, text);
      continue;
    }
    field.value = text;
    before.set(id, was);
    waiting.set(id, field);
  }
  send();
};

element.addEventListener('input', event => {
  if (event.target.matches('textarea')) {
    noted(event.target);
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  }
});
element.addEventListener('change', event => {
  if (event.target.matches('textarea')) {
    noted(event.target);
    send();
  }
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) send();
  else if (element.isConnected) trigger('page_returned', {seen: seen()});
});
element.addEventListener('keydown', event => {
  // Enter goes on to the next caption: captions are one line
  if (event.key !== 'Enter' || event.isComposing || !event.target.matches('textarea')) return;
  event.preventDefault();
  const fields = [...list.querySelectorAll('textarea')];
  fields[fields.indexOf(event.target) + (event.shiftKey ? -1 : 1)]?.focus();
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const card = button.closest('li');
  if (button.dataset.do === 'write') return card.querySelector('textarea').focus();
  const next = card.nextElementSibling || card.previousElementSibling;
  trigger('asked', {what: button.dataset.do, about: button.dataset.about, seen: seen()});
  if (['remove', 'leave'].includes(button.dataset.do)) next?.querySelector('.drop').focus({preventScroll: true});
});

const squeezed = text => text.replace(/\s+/g, ' ').trim();
const mergeField = (old, fresh) => {
  const known = fresh.getAttribute('value'),
    was = old.getAttribute('value'),
    focused = old === document.activeElement;
  if (
    was === known ||
    flying?.field === old ||
    waiting.get(old.closest('li').dataset.id) === old ||
    (focused && old.value !== was)
  )
    return;
  old.setAttribute('value', known);
  if (!(focused && squeezed(old.value) === known)) old.value = known;
};
const merge = (old, fresh) => {
  // makes one node like another, keeping what is equal: pictures stay loaded
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh.cloneNode(true));
  if (old.nodeName === 'TEXTAREA') return mergeField(old, fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const {name} of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [parts, others] = [[...old.childNodes], [...fresh.childNodes]];
  others.forEach((part, place) => (parts[place] ? merge(parts[place], part) : old.append(part.cloneNode(true))));
  parts.slice(others.length).forEach(part => part.remove());
};
const draw = () => {
  const holder = document.createElement('template');
  holder.innerHTML = props.value || '';
  const fresh = holder.content.firstElementChild;
  if (!fresh) return;
  const whole = 'whole' in fresh.dataset,
    revision = +fresh.dataset.revision,
    had = document.body.dataset.revision;
  const answered = flying && +fresh.dataset.ack === flying.count;
  if (answered) landed();
  if (had !== undefined && revision < +had) return send(); // overtaken by a newer state
  if (!whole && +fresh.dataset.since !== +had && revision !== +had)
    return trigger('asked', {what: 'whole', seen: seen()});
  Object.assign(document.body.dataset, {
    revision: fresh.dataset.revision,
    pictures: fresh.dataset.count,
    draft: fresh.dataset.draft,
  });
  document.dispatchEvent(new Event('velatura:pictures'));
  const old = new Map([...list.children].map(item => [item.dataset.id, item]));
  const items = [...fresh.children];
  if (whole) {
    const ids = new Set(items.map(item => item.dataset.id));
    for (const [id, item] of old)
      if (!ids.has(id)) {
        item.remove();
        waiting.delete(id);
      }
  }
  let place = list.firstElementChild;
  for (const item of items) {
    const here = old.get(item.dataset.id);
    if (here) merge(here, item);
    if (!whole) continue;
    const node = here || item;
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  if (had === undefined) restore();
  else if (answered) send();
};
watch('value', draw);
draw();
