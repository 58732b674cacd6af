// Several methods: the number of runs, their duration, and their start.
const {words: say} = props,
  PATIENCE = 30000;
let mark = null, // of an unanswered start: repeated with the same mark, it is performed once
  busy = false;
const boxes = () => [...element.querySelectorAll('[data-method]:checked')];
const count = () => {
  const line = element.querySelector('[data-count]'),
    start = element.querySelector('[data-start-sweep]');
  if (!line) return;
  const seconds = boxes().map(box => +box.dataset.seconds),
    total = seconds.every(Boolean) ? seconds.reduce((sum, one) => sum + one, 0) : 0,
    long = total >= 5400,
    what = seconds.length < 2 ? 'few' : !total ? 'count' : long ? 'hours' : 'minutes',
    number = long ? Math.round(total / 360) / 10 : Math.max(1, Math.round(total / 60));
  line.textContent = say[what]
    .replace('{count}', seconds.length)
    .replace('{number}', number.toLocaleString(document.documentElement.lang || undefined));
  start.disabled = busy || seconds.length < 2;
  start.dataset.label ||= start.textContent;
  start.textContent = busy ? start.dataset.busy : start.dataset.label;
};
const free = words => {
  busy = false;
  count();
  if (words) element.querySelector('[data-count]').textContent = words;
};
element.addEventListener('change', event => {
  if (event.target.matches('[data-method]')) count();
});
element.addEventListener('click', async event => {
  if (!event.target.closest('[data-start-sweep]') || busy) return;
  busy = true;
  count();
  if (!(await reachable())) return free(say.away);
  const mine = (mark ||= `${document.body.dataset.draft}:${Math.random().toString(36).slice(2)}`),
    typed = id => document.getElementById(id).value;
  trigger('sweep_pressed', {
    name: typed('style-name'),
    prompts: typed('prompts'),
    mark: mine,
    methods: boxes().map(box => box.dataset.method),
  });
  setTimeout(() => {
    if (busy && mark === mine && element.isConnected) free(say.unknown);
  }, PATIENCE);
});
watch('value', () =>
  setTimeout(() => {
    // Otherwise it answers another request, such as a typed name, and the start is still pending.
    if (mark && element.querySelector('[data-answer]')?.dataset.answer === mark) {
      busy = false;
      mark = null;
    }
    count();
  }),
);
