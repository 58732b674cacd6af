// The fields of the Playground. The server stores typed values after a moment and changes a field only with `data-set`.
// One request is sent at a time, so that values arrive in order.
const PAUSE = 500,
  GLANCE = 500,
  PATIENCE = 8000;
const line = [],
  taken = new WeakMap(),
  asked = location.search;
const clear = name => fields(name).forEach(field => (field.value = '')); // the values belonged to another axis
let flying = 0,
  count = 0,
  timer = 0,
  then = null,
  begun = false,
  sending = '',
  sent = '';
const TYPED = 'textarea, input[type=text]';
const byName = found => Object.fromEntries([...found].map(field => [field.name, field.value]));
const texts = () => JSON.stringify(byName(element.querySelectorAll(TYPED)));
const form = () => element.querySelector('form');
const fields = name => [...element.querySelectorAll(`[name=${name}]`)];
const text = name => fields(name)[0]?.value ?? '';
const typed = () => ({
  options: byName(element.querySelectorAll('.more-fields [name]')),
  ...Object.fromEntries(
    ['prompt', 'compose', 'across', 'across_values', 'down', 'down_values'].map(name => [name, text(name)]),
  ),
  count_of_pictures: text('count_of_pictures') || '1',
  each: fields('each')[0]?.checked ?? false,
  compare: fields('compare')[0]?.checked ?? true,
  styles: [...element.querySelectorAll('.style-row')].map(row => ({
    id: row.querySelector('select').value,
    strength: row.querySelector('input').value,
  })),
});
const next = () => {
  if (flying || !line.length) return;
  const [what, about, after] = line.shift(),
    mine = (flying = ++count);
  then = after || null;
  sending = what;
  sent = texts();
  const said = {count: mine, ...typed()};
  if (what === 'draw') trigger('form_submitted', said);
  else trigger('form_edited', {what, place: +about || 0, ...said});
  setTimeout(() => {
    if (flying !== mine) return;
    flying = 0;
    const draw = element.querySelector('[data-draw]');
    if (draw) draw.disabled = false;
    if (what === 'keep' && !line.length) line.push([what, about, after]); // it did not arrive: send it again
    next();
  }, PATIENCE);
};
const send = (what, about, after) => {
  clearTimeout(timer);
  if (what === 'keep' && line.length) return; // the next request has all values
  line.push([what, about, after]);
  next();
};
const decimal = new Intl.NumberFormat(document.documentElement.lang, {
  minimumFractionDigits: 2,
  maximumFractionDigits: 2,
}).format;
const numbers = () => {
  for (const row of element.querySelectorAll('.style-row'))
    row.querySelector('output').value = decimal(+row.querySelector('input').value);
};

element.addEventListener('input', event => {
  if (event.target.type === 'range') numbers();
  if (event.target.matches('select')) return;
  if (event.target.matches(TYPED)) unsent.note('fields', texts());
  clearTimeout(timer);
  timer = setTimeout(send, PAUSE, 'keep');
});
element.addEventListener('change', event => {
  if (['across', 'down'].includes(event.target.name)) clear(`${event.target.name}_values`);
  send(event.target.name === 'style' ? 'restyle' : 'keep');
});
element.addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && event.target.matches('textarea'))
    form().requestSubmit();
});
element.addEventListener('submit', event => {
  event.preventDefault();
  const draw = element.querySelector('[data-draw]');
  if (draw.disabled) return;
  draw.disabled = true;
  send('draw', 0, () => {
    const wrong = element.querySelector('[aria-invalid], .wrong');
    if (!wrong) {
      // A drawing on a small base is nearly done by then, and the stream may be later.
      setTimeout(() => document.dispatchEvent(new Event('velatura:look')), GLANCE);
      return document.querySelector('#pg-going')?.scrollIntoView({block: innerWidth <= 720 ? 'start' : 'nearest'});
    }
    const field = wrong.matches('[aria-invalid]') ? wrong : wrong.closest('.style-row').querySelector('select');
    field.focus();
  });
});
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const {do: what, about, add} = button.dataset;
  if (what === 'add') send(what, 0, () => [...element.querySelectorAll('.style-row select')].at(-1)?.focus());
  if (what === 'take-out') send(what, about, () => element.querySelector('[data-do=add], .style-row select')?.focus());
  if (add) {
    const field = fields('prompt')[0],
      words = field.value.trim();
    field.value = words ? `${words.replace(/,$/, '')}, ${add}` : add;
    field.focus();
    unsent.note('fields', texts());
    send('keep');
  }
  if ('seed' in button.dataset) {
    fields('seed')[0].value = Math.floor(Math.random() * 2 ** 32);
    unsent.note('fields', texts());
    element.querySelector('[data-draw]').disabled ? send('keep') : form().requestSubmit();
  }
});
// Wait for the answer to the pressed button; one to earlier typing comes without it.
const holdDraw = () => {
  const waits = line.some(([what]) => what === 'draw') || (flying && sending === 'draw');
  if (waits) element.querySelector('[data-draw]').disabled = true;
};
document.addEventListener('velatura:changed', () => {
  if (element.querySelector('.style-row.off')) send('keep'); // a deleted style may be back
});
let restored = false;
const restore = () => {
  // text that an earlier page could not send
  restored = true;
  const [left] = Object.values(unsent.left('fields'));
  if (!left || asked) return;
  for (const [name, value] of Object.entries(JSON.parse(left.text))) if (fields(name)[0]) fields(name)[0].value = value;
  send('keep');
};
const settle = () => {
  let fresh = false;
  for (const field of element.querySelectorAll('[data-set]')) {
    const {set} = field.dataset;
    if (taken.get(field) === set) continue;
    taken.set(field, set);
    settleField(field);
    fresh ||= field.name === 'prompt';
  }
  numbers();
  if (fresh && begun && !flying) fields('prompt')[0].focus(); // settings of an earlier picture were restored
  // A reload finds newer text.
  if (fresh && location.search) history.replaceState(history.state, '', location.pathname);
  begun ||= fresh;
  if (fresh && !restored) restore();
  else if (fresh && !+form().dataset.ack && (flying || unsent.has('fields'))) {
    // Settings were restored while typed text was being sent, which the server may have taken for newer.
    unsent.note('fields', texts());
    send('keep');
  }
  if (!flying || +form().dataset.ack !== flying) return holdDraw();
  flying = 0;
  unsent.landed('fields', sent);
  if (!line.length) element.querySelectorAll('select').forEach(settleField);
  const after = then;
  then = null;
  if (after) after();
  next();
  holdDraw();
};
watch('value', () => setTimeout(() => form() && settle()));
