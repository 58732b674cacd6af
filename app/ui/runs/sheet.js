// The contact sheet of a run. The large picture, the prompts, the strip and the graph follow the selected step and
// prompt. Until the user selects an earlier step, the newest one is selected.
const {words} = props,
  ANOTHER = '*',
  BEFORE = 0,
  SMALL = 200; // pixels up to which three pictures at twice their size fit side by side
const $ = selector => element.querySelector(selector);
const section = $('.sheet'),
  slider = $('.slider'),
  range = $('.slider input'),
  starring = $('.star'),
  marking = $('.candidate'),
  follow = $('.follow'),
  prompts = $('.prompts');
const [which, run] = element.querySelectorAll('select');
let data = null,
  row = 0,
  at = null, // the selected step
  following = true,
  other = null, // another run's picture, and the run that was requested
  asked = '';
const dropStale = makeStaleGuard();
const titleOf = cell => (cell.step === BEFORE ? words.before : put(words.step, cell));
// The step that the run gives may have no pictures here, after a vote on those of the comparison.
const unseen = step => (step === data.gives && data.starred ? {step, kept: true, whole: [], small: []} : undefined);
const drawn = (of = row) => data.cells.filter(cell => cell.whole[of]);
const newest = () => drawn().at(-1);
const current = () => drawn().find(cell => cell.step === at);
const address = (cell, of, size) => (cell?.[size][of] ? data.folder + cell[size][of] : '');
const show = (image, source) => {
  if (image.getAttribute('src') === source) return;
  if (source) image.src = source;
  else image.removeAttribute('src');
};

// Selection.
const select = (step, to = row) => {
  row = to;
  const near = drawn().sort((a, b) => Math.abs(a.step - step) - Math.abs(b.step - step))[0];
  if (near) at = near.step;
  following = !near || near === newest();
  draw();
};
const walk = by => {
  const steps = drawn(),
    now = steps.findIndex(cell => cell.step === at);
  if (steps.length) select(steps[Math.min(steps.length - 1, Math.max(0, now + by))].step);
};
const turn = by => {
  const to = Math.min(data.prompts.length - 1, Math.max(0, row + by));
  if (to === row) return;
  other = null;
  select(following ? data.steps : at, to);
  if (which.value === ANOTHER) want(run.value);
};

// The large picture and its comparison.
const fill = (list, options) => {
  const now = list.value,
    known = [...list.options].map(option => option.value + option.text).join('\n');
  if (known !== options.map(option => option.join('')).join('\n'))
    list.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === now)) list.value = now;
};
let picked = false; // whether the user chose the comparison
const drawPicture = cell => {
  const known = drawn();
  fill(which, [
    ...known.map(each => [String(each.step), titleOf(each)]),
    ...(words.another ? [[ANOTHER, words.another]] : []), // not for guests
  ]);
  if (!picked && known.length) which.value = String(known[0].step);
  const left = which.value !== ANOTHER && known.find(each => String(each.step) === which.value),
    before = other || (left && left !== cell ? address(left, row, 'whole') : '');
  show($('.after'), address(cell, row, 'whole'));
  show($('.before'), before);
  slider.classList.toggle('single', !before);
  $('.after').alt = cell ? put(words.picture, {prompt: data.prompts[row], step: titleOf(cell)}) : '';
  $('.at-start').textContent = other ? run.value : left ? titleOf(left) : '';
  $('.at-end').textContent = cell ? titleOf(cell) : '';
  $('.with').hidden = !cell;
  run.closest('.field').hidden = which.value !== ANOTHER || !run.options.length;
};

// Beside it: a training picture whose caption is near to the prompt, and the prompt's picture from before training.
const trained = $('.trained'),
  trainedImage = $('.trained img'),
  untrained = $('.untrained'),
  trainings = new Map(), // answers by place and prompt
  places = new Map(); // the place of each prompt's training picture among those nearest to it
let wanted = '',
  telling = false; // whether to say which picture the user has come to
const drawTrained = () => {
  const prompt = data.prompts[row] ?? '',
    place = places.get(prompt) ?? 0,
    key = `${place} ${prompt}`,
    picture = trainings.get(key);
  trained.hidden = !data.trained || picture?.trained === '';
  $('.next').hidden = data.trained < 2;
  trained.classList.toggle('skeleton', !picture && !trainedImage.src);
  if (!trained.hidden && !picture && wanted !== key) trigger('training_wanted', {prompt, place});
  wanted = picture ? '' : key;
  if (!picture) return;
  show(trainedImage, picture.trained);
  trainedImage.alt = picture.caption ? put(words.trained, picture) : $('.trained b').textContent;
  if (telling) trained.querySelector('[role=status]').textContent = trainedImage.alt;
  telling = false;
};
const drawCompanions = cell => {
  const before = data.cells.find(each => each.step === BEFORE),
    image = untrained.querySelector('img');
  show(image, address(before, row, 'whole'));
  image.alt = before ? put(words.picture, {prompt: data.prompts[row], step: titleOf(before)}) : '';
  untrained.hidden = !image.getAttribute('src') && data.planned[0] !== BEFORE;
  untrained.classList.toggle('twice', cell === before); // the large picture is the same
  drawTrained();
};
const turnTraining = () => {
  const prompt = data.prompts[row] ?? '';
  if (data.trained < 2) return;
  places.set(prompt, ((places.get(prompt) ?? 0) + 1) % data.trained);
  telling = true;
  drawTrained();
};
const hearTrained = answer => {
  trainings.set(`${answer.place} ${answer.prompt}`, answer);
  if (data) drawTrained();
};
$('.next').addEventListener('click', turnTraining);
trainedImage.addEventListener('load', () => {
  trainedImage.style.maxWidth = `${2 * trainedImage.naturalWidth}px`;
  trainedImage.style.maxHeight = `${2 * trainedImage.naturalHeight}px`;
});

// Every prompt at the selected step.
const drawPrompts = cell => {
  prompts.classList.toggle('alone', data.prompts.length < 2);
  while (prompts.children.length > data.prompts.length) prompts.lastChild.remove();
  data.prompts.forEach((prompt, k) => {
    if (!prompts.children[k]) {
      const option = document.createElement('div');
      option.id = `prompt-${k}`;
      option.setAttribute('role', 'option');
      option.innerHTML =
        '<span class="frame"><img loading="lazy" alt=""><small></small></span><span class="words"></span>';
      prompts.append(option);
    }
    // A step may have pictures of some prompts only; the others show their last one.
    const option = prompts.children[k],
      last = drawn(k).findLast(each => each.step <= at),
      source = address(last, k, 'small'),
      earlier = Boolean(last) && last !== cell;
    option.setAttribute('aria-selected', k === row);
    option.querySelector('.words').textContent = option.title = prompt;
    option.querySelector('.frame').classList.toggle('skeleton', !source);
    option.querySelector('.frame').classList.toggle('earlier', earlier);
    option.querySelector('small').textContent = earlier ? titleOf(last) : '';
    show(option.querySelector('img'), source);
  });
  prompts.setAttribute('aria-activedescendant', data.prompts.length ? `prompt-${row}` : '');
  prompts.toggleAttribute('aria-busy', !data.prompts.length);
};

// The step that the run gives. While it trains, the newest one has no star, as the star would move at every step.
const isGiven = cell => Boolean(cell) && cell.step === data.gives && (data.starred || data.best || !data.going);
const isCandidate = cell => Boolean(cell) && data.candidates.includes(cell.step);
const drawChoice = cell => {
  const any = data.may && data.cells.some(each => each.kept),
    given = isGiven(cell);
  starring.hidden = !any || !cell;
  starring.disabled = !given && !cell?.kept;
  starring.setAttribute('aria-pressed', given);
  // What an ended run gives unless another step is starred has no star to remove.
  starring.setAttribute('aria-disabled', starring.disabled || (given && !data.starred && data.settled));
  starring.title = starring.disabled ? words.unkept : '';
  starring.querySelector('span').textContent = given ? (data.starred ? words.isStarred : words.isGiven) : words.star;
  const marked = isCandidate(cell);
  marking.hidden = starring.hidden;
  marking.disabled = !cell?.kept || given || (!marked && data.candidates.length >= data.most);
  marking.setAttribute('aria-pressed', marked);
  const compare = $('.compare');
  compare.hidden = !data.compare;
  if (data.compare) compare.href = data.compare;
  follow.hidden = following || !data.going;
  const against = data.advised !== null && data.advised !== data.gives ? 'Against' : '';
  const best = data.best ? 'Best' : '',
    unstarred = data.going ? `${best}Now` : data.unmarked ? 'Unmarked' : best || 'Unless',
    kind = data.starred ? against : unstarred,
    sentence = words[`gives${kind}`];
  $('.gives').textContent = data.gives === null ? '' : put(sentence, {step: data.gives, best: data.advised});
};
// Prompts without a picture at this step, once it is drawn, and those without any.
const drawMissing = cell => {
  const count = cell ? cell.whole.filter(Boolean).length : 0,
    comes = data.going && cell === data.cells.at(-1),
    some = cell && !comes && count < data.prompts.length,
    missing = $('.missing');
  missing.hidden = !some && !data.left.length;
  missing.querySelector('span').textContent = [
    some ? put(words.some, {drawn: count, all: data.prompts.length}) : '',
    data.left.length ? put(words.left, {prompts: data.left.join(', ')}) : '',
  ].join(' ');
  const others = [...(some ? data.prompts.filter((_, k) => !cell.whole[k]) : []), ...data.left];
  missing.querySelector('a').hidden = !data.draw;
  if (data.draw) missing.querySelector('a').href = `${data.draw}&prompts=${encodeURIComponent(others.join('\n'))}`;
};
// Choices are sent one at a time, so that they arrive in order; a later choice of the same kind replaces a waiting one.
// A candidate has `wanted`, a star does not.
const ANSWERED = 5000;
let choices = []; // the first one is being sent
const kindOf = choice => ('wanted' in choice ? choice.step : 'star');
const sendChoice = () => {
  const [choice] = choices;
  if (!choice) return;
  if ('wanted' in choice) trigger('candidate_set', choice);
  else trigger('starred', choice);
  setTimeout(() => choices[0] === choice && landChoice(), ANSWERED);
};
const landChoice = () => {
  choices.shift();
  sendChoice();
};
const isTaken = ({step, wanted}) => {
  if (wanted !== undefined) return data.candidates.includes(step) === wanted;
  return step === null ? !data.starred : data.gives === step;
};
const take = ({step, wanted}) => {
  if (step === null) return;
  const others = data.candidates.filter(each => each !== step);
  data.candidates = wanted ? [...others, step].sort((a, b) => a - b) : others;
  if (wanted === undefined) Object.assign(data, {gives: step, starred: true, best: false});
};
// Update from the server; later choices of the user stay.
const settleChoices = () => {
  if (choices.length && isTaken(choices[0])) landChoice();
  choices.forEach(take);
};
const choose = choice => {
  const [first, ...waiting] = choices;
  choices = [...(first ? [first] : []), ...waiting.filter(each => kindOf(each) !== kindOf(choice)), choice];
  if (!first) sendChoice();
  take(choice); // at once; the answer confirms or reverts it
  draw();
};
const star = cell => {
  if (!data.may || !cell || !(cell.kept || isGiven(cell))) return;
  const taken = data.starred && cell.step === data.gives;
  if (!taken && data.settled && isGiven(cell)) return;
  choose({step: taken ? null : cell.step});
};
const mark = cell => {
  if (!data.may || !cell || marking.disabled) return;
  choose({step: cell.step, wanted: !isCandidate(cell)});
};

const draw = () => {
  section.hidden = !data;
  if (!data) return;
  if (following || !current()) at = newest()?.step ?? null;
  const cell = current();
  section.classList.toggle('waiting', !data.cells.length);
  section.style.setProperty('--ratio', data.ratio);
  section.style.setProperty('--natural', `${data.width}px`);
  section.classList.toggle('small-pictures', data.width <= SMALL);
  $('.none').hidden = Boolean(data.cells.length);
  $('.told').textContent = '';
  drawPicture(cell);
  drawCompanions(cell);
  drawPrompts(cell);
  drawChoice(cell);
  drawMissing(cell);
  drawStrip();
  document.dispatchEvent(new CustomEvent('velatura:step', {detail: {step: at, following}}));
};

// The lightbox.
let opener = null;
const enlarge = makeLight({
  source: item => address(item.cell, item.row, 'whole'),
  titled: item => `${data.prompts[item.row]} · ${titleOf(item.cell)}`,
  named: item => put(words.file, {name: data.name, step: titleOf(item.cell), prompt: data.prompts[item.row]}),
  after: ({cell, row: of}, down, right) => {
    const steps = drawn(of),
      rows = data.prompts.map((_, k) => k).filter(k => cell.whole[k]);
    const next = right ? steps[steps.indexOf(cell) + right] : cell,
      to = down ? rows[rows.indexOf(of) + down] : of;
    return next && to !== undefined ? {cell: next, row: to} : null;
  },
  shown: item => select(item.cell.step, item.row),
  back: () => opener?.focus({preventScroll: true}),
});
const open = () => {
  opener = document.activeElement;
  if (current()) enlarge({cell: current(), row});
};
$('.enlarge').addEventListener('click', open);
slider.addEventListener('dblclick', open);

// Pointer and keyboard.
const MOVES = {
  ArrowLeft: () => walk(-1),
  ArrowRight: () => walk(1),
  Home: () => walk(-Infinity),
  End: () => walk(Infinity),
};
const TURNS = {ArrowUp: () => turn(-1), ArrowDown: () => turn(1)};
const CHOICES = {s: () => star(current()), c: () => mark(current()), t: () => turnTraining()};
const onKey = (event, keys) => {
  if (!data || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
};
section.addEventListener('keydown', event => {
  const {target} = event;
  if (target.closest('[role=listbox]')) onKey(event, {...MOVES, ...TURNS, ...CHOICES, Enter: open});
  else if (target === range) onKey(event, {...TURNS, Enter: open});
  else if (target.matches('.enlarge')) onKey(event, {...MOVES, ...TURNS});
});
document.addEventListener('keydown', event => {
  if (element.isConnected && event.target === document.body)
    onKey(event, {ArrowLeft: MOVES.ArrowLeft, ArrowRight: MOVES.ArrowRight});
});
prompts.addEventListener('click', event => {
  const option = event.target.closest('[role=option]');
  if (option) turn([...prompts.children].indexOf(option) - row);
});
prompts.addEventListener('dblclick', open);
starring.addEventListener('click', () => star(current()));
marking.addEventListener('click', () => mark(current()));
follow.addEventListener('click', () => {
  walk(Infinity);
  cells.focus({preventScroll: true});
});
const NARROW = 30; // per cent of the width: no room for the label of the left side
const slide = () => {
  element.style.setProperty('--cut', `${range.value}%`);
  slider.classList.toggle('whole', range.value < NARROW);
};
range.value = remember('divider') ?? 0;
range.addEventListener('input', slide);
range.addEventListener('change', () => remember('divider', +range.value));
slide();
document.addEventListener('velatura:travel', event => {
  if (element.isConnected && data) select(event.detail.step);
});

// Another run's picture.
const want = name => trigger('picture_wanted', {row, run: (asked = name), at: Date.now()});
which.addEventListener('change', () => {
  picked = true;
  other = null;
  if (range.value < NARROW) range.value = 50;
  slide();
  run.replaceChildren();
  draw();
  if (which.value === ANOTHER) want('');
});
run.addEventListener('change', () => {
  other = null;
  draw();
  if (run.value) want(run.value);
});
const hearOther = heard => {
  if (heard.row !== row || which.value !== ANOTHER) return;
  let found = true;
  if (heard.runs) {
    found = heard.runs.length > 0;
    fill(run, found ? [['', words.choose], ...heard.runs.map(name => [name, name])] : []);
  } else if (heard.run === asked) found = Boolean((other = heard.picture));
  draw();
  if (!found) $('.told').textContent = words.none;
};
// The page of an ended run opens at the starred or best step.
const begin = () => {
  const cell = data.cells.find(each => each.step === data.gives),
    to = cell ? cell.whole.findIndex(Boolean) : -1;
  if (to < 0) return;
  [row, at] = [to, cell.step];
  following = cell === newest();
};
const hear = () => {
  const value = dropStale(props.value);
  if (value === null) return;
  const heard = value ? JSON.parse(value) : null;
  if (heard && 'caption' in heard) return hearTrained(heard);
  if (heard && !heard.cells) return hearOther(heard);
  const opening = !data;
  data = heard;
  wanted = ''; // an answer may have been lost
  if (data) settleChoices();
  if (data) row = Math.min(row, Math.max(0, data.prompts.length - 1));
  if (data && opening && (data.starred || data.best) && !data.going) begin();
  draw();
};
