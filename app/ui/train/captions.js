// Captions typed in a card or in the editor are sent when typing pauses, one at a time so that they arrive in order. An
// update never changes a field that is being typed in.
const PAUSE = 600,
  PATIENCE = 5000;
const waiting = new Set(); // pictures whose captions are to be sent
const before = new Map(); // the captions that the page showed when typing began
const tried = new Set(); // pictures with an unacknowledged caption
const marks = new Map(); // marks of the last attempts: a late attempt is not applied again
let flying = null,
  count = 0,
  timer = 0;
const send = () => {
  clearTimeout(timer);
  const id = [...waiting].find(one => rows.has(one));
  if (flying) return;
  if (id === undefined) return sendEdit();
  waiting.delete(id);
  const {caption} = rows.get(id),
    text = textOf(id),
    was = before.get(id) ?? caption;
  if (!tried.has(id) && [was, caption].includes(text)) {
    before.delete(id);
    typed.delete(id);
    unsent.landed(`caption:${id}`, text);
    paint(id); // another tab's text since then
    return send();
  }
  tried.add(id);
  flying = {id, text, count: ++count};
  if (marks.get(id)?.text !== text) marks.set(id, {text, mark: Math.random().toString(36).slice(2)});
  trigger('caption_edited', {id, text, was, seen: seen(), count, mark: marks.get(id).mark});
  const mine = flying;
  setTimeout(() => {
    if (flying === mine) {
      flying = null;
      waiting.add(id);
      send();
    }
  }, PATIENCE);
};
// `known` is whether the rows are those of the server at that time.
const landed = known => {
  const {id, text} = flying;
  flying = null;
  tried.delete(id);
  marks.delete(id);
  if (!rows.has(id)) return waiting.add(id); // it was deleted: undo restores it together with its text
  if (known === false) rows.get(id).caption = text;
  if (waiting.has(id)) before.set(id, text);
  else {
    before.delete(id);
    if (typed.get(id) === text) typed.delete(id);
  }
  unsent.landed(`caption:${id}`, text);
};
const noted = (id, text) => {
  if (!before.has(id)) before.set(id, rows.get(id).caption);
  typed.set(id, text);
  waiting.add(id);
  unsent.note(`caption:${id}`, text, before.get(id));
};
// Restores text that an earlier page could not send, and sends it with the caption that page had been shown.
const restore = () => {
  for (const [name, {text, was}] of Object.entries(unsent.left('caption:'))) {
    const id = name.slice('caption:'.length);
    if (!rows.has(id) || rows.get(id).caption === text) {
      unsent.landed(name, text);
      continue;
    }
    typed.set(id, text);
    before.set(id, was);
    waiting.add(id);
    paint(id);
  }
  send();
};
const idOf = field => field.dataset.of || field.closest('li').dataset.key;
const isCaption = field => field.matches('.cards textarea, #bench-caption');
element.addEventListener('input', event => {
  if (!isCaption(event.target)) return;
  noted(idOf(event.target), event.target.value);
  paint(idOf(event.target));
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE);
});
element.addEventListener('change', event => {
  if (!isCaption(event.target) || !rows.has(idOf(event.target))) return;
  noted(idOf(event.target), event.target.value);
  send();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) send();
  // A newer draft revision can result from this page's own request.
  else if (element.isConnected && !flying && !editing) trigger('page_returned', {seen: seen()});
});
const squeezed = text => text.replace(/\s+/g, ' ').trim();
// A field's `value` attribute has the server's text, its property the current one.
const settle = (field, id) => {
  const {caption} = rows.get(id),
    text = textOf(id);
  if (field.getAttribute('value') !== caption) field.setAttribute('value', caption);
  const stays = field === document.activeElement && (typed.has(id) || squeezed(field.value) === caption);
  if (!stays && field.value !== text) field.value = text;
};
