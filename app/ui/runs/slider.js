// Two pictures under one slider. What somebody has chosen is not replaced when a newer sample arrives.
const section = element.querySelector('section'),
  before = element.querySelector('.before'),
  after = element.querySelector('.after');
const hint = element.querySelector('.hint'),
  range = element.querySelector('input');
const [which, run] = element.querySelectorAll('select'),
  ANOTHER = '*';
let rows = [],
  at = 0,
  chosen = ''; // the row, and the picture on the right where one was chosen
let other = null,
  asked = ''; // another run's picture, and whose was asked for
const find = title => rows[at]?.pictures.find(picture => picture.title === title);
const put = (image, picture) => {
  if (image.getAttribute('src') !== picture.whole) image.src = picture.whole;
};
const fill = (select, options) => {
  const now = select.value,
    known = [...select.options].map(option => option.value).join('\n');
  if (known !== options.map(([value]) => value).join('\n'))
    select.replaceChildren(...options.map(([value, words]) => new Option(words, value)));
  if (options.some(([value]) => value === now)) select.value = now;
};
const draw = (said = '') => {
  const row = rows[at];
  section.hidden = !row;
  if (!row) return;
  fill(which, [...row.pictures.map(({title}) => [title, title]), [ANOTHER, props.words.another]]);
  const right = find(chosen) || row.pictures.at(-1),
    left = other || find(which.value) || row.pictures[0];
  put(before, left);
  put(after, right);
  element.querySelector('.left').textContent = left.title;
  element.querySelector('.right').textContent = right.title;
  hint.textContent = said || `${row.words} · ${right.title}`;
  run.closest('.field').hidden = which.value !== ANOTHER || !run.options.length;
};
const want = name => trigger('picture_wanted', {row: at, run: (asked = name), at: Date.now()});
which.addEventListener('change', () => {
  other = null;
  run.replaceChildren();
  draw();
  if (which.value === ANOTHER) want('');
});
run.addEventListener('change', () => {
  if (run.value) want(run.value);
});
const slide = () => element.style.setProperty('--cut', `${range.value}%`);
range.addEventListener('input', slide);
slide();
document.addEventListener('velatura:sample', event => {
  if (!element.isConnected || !rows[event.detail.row]) return;
  const moved = at !== event.detail.row;
  [at, chosen] = [event.detail.row, event.detail.title];
  if (moved) other = null;
  draw();
  if (moved && which.value === ANOTHER) want(run.value);
});
const hear = () => {
  if (!props.value) {
    rows = [];
    return draw();
  } // the run began again from zero
  const heard = JSON.parse(props.value);
  let found = true;
  if (heard.rows) rows = heard.rows;
  else if (heard.row !== at || which.value !== ANOTHER) return;
  else if (heard.runs) {
    found = heard.runs.length > 0;
    fill(run, found ? [['', props.words.choose], ...heard.runs.map(name => [name, name])] : []);
  } else if (heard.run === asked) found = Boolean((other = heard.picture));
  draw(found ? '' : props.words.none);
};
watch('value', hear);
hear();
