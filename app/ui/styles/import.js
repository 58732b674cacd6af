// Imports chosen or dropped style files, and copies trigger words.
const LARGEST = words.most * 2 ** 20,
  SHOWN_FOR = 6000;
const input = element.querySelector('input'),
  button = element.querySelector('button.quiet');
const toast = element.querySelector('.toast');
let busy = false;
const refusal = ({name, size}) => (!/\.safetensors$/i.test(name) ? 'other' : size > LARGEST ? 'large' : '');
const bring = async (file, progress) => {
  const name = file.name,
    problem = refusal(file);
  if (problem) return {name, problem};
  try {
    return {name, path: await send(file, progress)};
  } catch (error) {
    return {name, problem: error.message || 'failed'};
  }
};
const queue = [];
let n = 0,
  done = 0;
const take = files => {
  queue.push(...files);
  n += files.length;
  if (!busy && files.length) work();
};
const work = async () => {
  [busy, stopped] = [true, false];
  try {
    while (queue.length && !stopped) {
      const sent = [],
        first = queue[0].name;
      while (queue.length && !stopped) {
        const file = queue.shift();
        const progress = share =>
          tell(
            fill(n > 1 ? words.uploading : words.one, {k: done + sent.length + 1, n, name: file.name}),
            share,
            share,
          );
        progress(0);
        const here = await bring(file, progress);
        if (!stopped) sent.push(here);
      }
      if (sent.length)
        tell(fill(words.looking, {name: sent.length > 1 ? fill(words.several, {n: sent.length}) : first}));
      if (sent.length) await look('files_uploaded', sent);
      done += sent.length;
    }
    tell(stopped ? words.stopped : '');
  } catch {
    tell(words.lost);
  }
  [busy, n, done, queue.length] = [false, 0, 0, 0];
};
button.addEventListener('click', () => input.click());
input.addEventListener('change', () => {
  take([...input.files]);
  input.value = '';
});
whenDropped(
  () => element.isConnected,
  on => element.classList.toggle('over', on),
  dropped => take([...dropped.files]),
);
document.addEventListener(
  'toggle',
  event => {
    // a menu that opens upwards may begin above the window
    if (element.isConnected && event.target.matches('.shelf .more[open]'))
      event.target.querySelector('.menu').scrollIntoView({block: 'nearest'});
  },
  true,
);
let timer = 0;
document.addEventListener('click', async event => {
  const asked = element.isConnected && event.target.closest('[data-copy]');
  if (!asked) return;
  const text = asked.dataset.copy,
    menu = asked.closest('.more');
  menu.open = false;
  menu.querySelector('summary').focus();
  let said = words.copied;
  try {
    await copy(text);
  } catch {
    said = words.uncopied;
  }
  toast.textContent = fill(said, {text});
  clearTimeout(timer);
  timer = setTimeout(() => {
    toast.textContent = '';
  }, SHOWN_FOR);
});
