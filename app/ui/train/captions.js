// The caption editor. It draws the cards that the server sends, keyed by picture: an update never refetches a picture,
// moves the focus or touches a field in which somebody is typing. What is typed is sent when typing pauses.
const list = element.querySelector('ul'),
  PAUSE = 600,
  PATIENCE = 5000;
const waiting = new Map(); // fields whose captions are to be sent, by picture
const before = new Map(); // what the page had been shown of them when somebody began to type
const tried = new Set(); // pictures of which something was sent that has not been answered
let flying = null,
  count = 0,
  timer = 0; // one edit is on its way at a time, so that they arrive in order
const seen = () => +document.body.dataset.revision || 0;

// A field's `value` attribute is what the server knows; its property is what stands in it.
const known = field => field.getAttribute('value') || '';
const send = () => {
  clearTimeout(timer);
  if (flying || !waiting.size) return;
  const [id, field] = waiting.entries().next().value;
  waiting.delete(id);
  const was = before.get(id) ?? known(field);
  if (!tried.has(id) && [was, known(field)].includes(field.value)) {
    before.delete(id);
    unsent.landed(`caption:${id}`, field.value);
    settle(); // what another tab has written meanwhile
    return send();
  }
  tried.add(id);
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
const landed = overtaken => {
  const {id, field, text} = flying;
  if (!overtaken) field.setAttribute('value', text);
  if (waiting.has(id)) before.set(id, text);
  else before.delete(id);
  tried.delete(id);
  unsent.landed(`caption:${id}`, text);
  flying = null;
};
const forget = id => {
  waiting.delete(id);
  before.delete(id);
  tried.delete(id);
};
const idOf = field => field.closest('li').dataset.key;
const noted = field => {
  const id = idOf(field);
  waiting.set(id, field);
  if (!before.has(id)) before.set(id, known(field));
  unsent.note(`caption:${id}`, field.value, before.get(id));
};
// What an earlier page could not send stands in the fields again, and is sent with what that page had been shown.
const restore = () => {
  for (const [name, {text, was}] of Object.entries(unsent.left('caption:'))) {
    const id = name.slice('caption:'.length),
      field = list.querySelector(`li[data-key="${CSS.escape(id)}"] textarea`);
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
const stays = field =>
  flying?.field === field ||
  waiting.get(idOf(field)) === field ||
  (field === document.activeElement && squeezed(field.value) === known(field));
const settle = () => settleFields(list, stays);
const draw = () => {
  const holder = document.createElement('template');
  holder.innerHTML = props.value || '';
  const fresh = holder.content.firstElementChild;
  if (!fresh) return;
  const whole = 'whole' in fresh.dataset,
    revision = +fresh.dataset.revision,
    had = document.body.dataset.revision,
    overtaken = had !== undefined && revision < +had; // by a newer state, which the page shows
  const answered = flying && +fresh.dataset.ack === flying.count;
  if (answered) landed(overtaken);
  if (overtaken) {
    settle();
    return send();
  }
  if (!whole && +fresh.dataset.since !== +had && revision !== +had)
    return trigger('asked', {what: 'whole', seen: seen()});
  Object.assign(document.body.dataset, {
    revision: fresh.dataset.revision,
    pictures: fresh.dataset.count,
    captionless: fresh.dataset.captionless,
    draft: fresh.dataset.draft,
  });
  document.dispatchEvent(new Event('velatura:pictures'));
  if (whole) mergeChildren(list, fresh);
  else
    for (const item of fresh.children) {
      const here = list.querySelector(`li[data-key="${CSS.escape(item.dataset.key)}"]`);
      if (here) merge(here, item);
    }
  for (const [id, field] of waiting) if (!field.isConnected) forget(id);
  settle();
  if (had === undefined) restore();
  else if (answered) send();
};
watch('value', draw);
draw();
