// Step 3: name and prompts are stored as they are typed; Start opens the run's page.
const {words: say} = props,
  PATIENCE = 5000;
const FIELDS = {'style-name': 'name', prompts: 'prompts'};
const timers = {};
let restored = false,
  starting = false; // whether a start is unanswered
const typing = inTurn((what, text, count) => trigger('asked', {what, text, count}), PATIENCE, unsent.landed);
const keep = field => {
  const what = FIELDS[field.id];
  clearTimeout(timers[what]);
  if (typing.latest(what) !== field.value) typing.put(what, field.value);
};
const mine = field => field.id in FIELDS;
element.addEventListener('input', event => {
  if (!mine(event.target)) return;
  const what = FIELDS[event.target.id];
  unsent.note(what, event.target.value, event.target.getAttribute('value') || '');
  clearTimeout(timers[what]);
  timers[what] = setTimeout(keep, 500, event.target);
});
element.addEventListener('change', event => {
  if (mine(event.target)) keep(event.target);
});
element.addEventListener('keydown', event => {
  if (event.key === 'Enter' && event.target.id === 'style-name') event.target.blur();
});

// A start has a mark, so that it is performed once and a page that reconnects can ask for its result.
const STARTING = 'velatura-starting';
const pending = () => {
  try {
    return sessionStorage.getItem(STARTING);
  } catch {
    return null;
  }
};
const mark = value => {
  try {
    if (value) sessionStorage.setItem(STARTING, value);
    else sessionStorage.removeItem(STARTING);
  } catch {
    /* the page then cannot ask for it */
  }
};
// Until its answer arrives, regardless of other answers.
const hold = start => {
  start.disabled = true;
  start.dataset.label ||= start.textContent;
  start.textContent = start.dataset.busy;
};
const refuse = words => {
  starting = false;
  const start = element.querySelector('[data-start]');
  if (!start) return;
  start.disabled = false;
  if (start.dataset.label) start.textContent = start.dataset.label;
  element.querySelector('.problem')?.remove();
  const said = Object.assign(document.createElement('p'), {className: 'problem', textContent: words});
  said.setAttribute('role', 'alert');
  start.parentElement.prepend(said);
};
const begin = async start => {
  starting = true;
  element.querySelector('.problem')?.remove(); // of the former start
  hold(start);
  if (!(await reachable())) return refuse(say.away);
  const mine = `${document.body.dataset.draft}:${Math.random().toString(36).slice(2)}`;
  mark(mine);
  const typed = id => document.getElementById(id).value;
  trigger('start_pressed', {name: typed('style-name'), prompts: typed('prompts'), mark: mine});
  const watching = setInterval(async () => {
    if (pending() !== mine || !element.isConnected) return clearInterval(watching);
    if (!(await reachable()) && pending() === mine) {
      clearInterval(watching);
      refuse(say.unknown);
    }
  }, PATIENCE);
};
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]'),
    start = event.target.closest('[data-start]');
  if (button) typing.afterwards(() => trigger('asked', {what: button.dataset.do, about: button.dataset.about || ''}));
  if (start && !start.disabled) begin(start);
});
const restore = () => {
  const here = Object.keys(FIELDS)
    .map(id => element.querySelector(`#${id}`))
    .filter(Boolean);
  if (restored || !document.body.dataset.draft || !(here.length || element.querySelector('[data-start]'))) return;
  restored = true;
  for (const field of here)
    for (const {text} of Object.values(unsent.left(FIELDS[field.id]))) {
      field.value = text;
      keep(field);
    }
  if (element.querySelector('[data-start]') && pending()?.startsWith(`${document.body.dataset.draft}:`))
    trigger('start_pressed', {mark: pending(), again: true});
};
const settle = () => {
  const going = element.querySelector('[data-run]');
  if (going) {
    mark(null);
    location.href = `run?id=${encodeURIComponent(going.dataset.run)}`;
    return;
  }
  const several = element.querySelector('[data-sweep]');
  if (several) {
    location.href = `sweep?id=${encodeURIComponent(several.dataset.sweep)}`;
    return;
  }
  restore();
  settleFields(element, field => field === document.activeElement || unsent.has(FIELDS[field.id]));
  const start = element.querySelector('[data-start]');
  if (start && element.querySelector('.problem')) {
    starting = false;
    start.disabled = false;
    mark(null);
  } else if (start && starting) hold(start);
};
watch('value', () => {
  typing.land(answeredIn(props.value));
  setTimeout(settle);
});
document.addEventListener('velatura:pictures', () => setTimeout(settle));
setTimeout(settle);
