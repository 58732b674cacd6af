// Imports pictures from files, folders, ZIPs and pastes. They are uploaded one at a time and processed in small batches
// meanwhile, so that cards appear early and a closed page loses little.
const BATCH = 8,
  LARGEST = 200 * 2 ** 20,
  BESIDE = /(\.txt|\.crop\.json|-mask\.png)$/i;
let drops = 0;
const page = Math.random().toString(36).slice(2);
const box = element.querySelector('.zone'),
  inputs = element.querySelectorAll('input[type=file]');
const intake = element.querySelector('.intake');
let unusable = false; // whether the page says that nothing usable was found
const settle = () => {
  const none = document.body.dataset.pictures === '0';
  intake.classList.toggle('none', none);
  intake.classList.toggle('some', !none);
  if (!none && unusable) tell('');
  unusable &&= none;
  if (!none) forgetChoice();
  // The pressed button has gone with the empty page.
  if (!none && document.activeElement?.closest('.samples')) element.querySelector('.go').focus();
};
document.addEventListener('velatura:pictures', settle);
const queue = []; // files chosen or dropped that are not being uploaded yet
let working = false;
// Names of files not imported yet, for the page after a reload.
const COMING = 'velatura-coming';
const remember = names => {
  try {
    if (names.length) sessionStorage.setItem(COMING, JSON.stringify(names));
    else sessionStorage.removeItem(COMING);
  } catch {
    /* the next page then shows none */
  }
};
const recall = () => {
  try {
    return JSON.parse(sessionStorage.getItem(COMING)) || [];
  } catch {
    return [];
  }
};
const some = names => names.slice(0, 3).join(', ') + (names.length > 3 ? ' …' : '');
const list = reader =>
  new Promise((done, failed) => {
    // readEntries returns at most 100 names per call
    const all = [],
      more = () => reader.readEntries(part => (part.length ? (all.push(...part), more()) : done(all)), failed);
    more();
  });
const walk = async entry => {
  if (entry.isDirectory) return (await Promise.all((await list(entry.createReader())).map(walk))).flat();
  const file = await new Promise((done, failed) => entry.file(done, failed));
  return [{file, name: entry.fullPath.replace(/^\//, '')}];
};
const meant = ({name}) =>
  !name
    .split('/')
    .some(part => part.startsWith('.') || part === '__MACOSX' || /^(thumbs\.db|desktop\.ini)$/i.test(part));
const bring = async ({file, name}, progress) => {
  if (file.size > LARGEST) return {name, problem: fill(words.large, {name})};
  try {
    return {name, path: await send(file, progress)};
  } catch (error) {
    if (!stopped && !(await reachable())) throw error; // the others would not arrive either
    return {name, problem: error.message || fill(words.failed, {name})};
  }
};
const take = found => {
  const files = found.filter(meant);
  if (!files.length) return working || tell(words.nothing);
  // Captions and masks follow their picture.
  files.sort((a, b) => BESIDE.test(a.name) - BESIDE.test(b.name));
  drops++;
  queue.push(...files);
  if (working) more(files);
  else work();
};
let more = () => {};
const work = async () => {
  [working, stopped] = [true, false];
  box.classList.add('at-work');
  let ready = [],
    n = 0,
    whole = 1,
    arrived = 0,
    looked = 0,
    looking = null,
    bytes = 0,
    coming = 0;
  const names = [];
  const next = () => {
    if (looking || !ready.length || stopped) return looking;
    const batch = ready.splice(0, BATCH);
    looking = look('files_uploaded', batch, {seen: +document.body.dataset.revision || 0, drop: `${page}${drops}`}).then(
      () => {
        looked += batch.length;
        looking = null;
        remember(names.slice(looked));
        progress();
        return next();
      },
    );
    return looking;
  };
  const progress = () => {
    const sent = Math.min(1, (bytes + coming) / whole),
      done = (sent + looked / n) / 2;
    if (arrived < n) tell(fill(words.uploading, {k: arrived + 1, n}), done, done);
    else tell(fill(words.looking, {k: Math.min(looked + 1, n), n}), done);
  };
  more = files => {
    n += files.length;
    whole += files.reduce((sum, {file}) => sum + file.size, 0);
    names.push(...files.map(({name}) => name));
    remember(names.slice(looked));
    if (n > files.length) progress();
  };
  more([...queue]);
  try {
    while (!stopped && (queue.length || looking || ready.length)) {
      const one = queue.shift();
      if (!one) {
        progress();
        await next();
        continue;
      }
      progress();
      const here = await bring(one, share => {
        coming = share * one.file.size;
        progress();
      });
      if (stopped) break;
      ready.push(here);
      arrived++;
      coming = 0;
      bytes += one.file.size;
      next()?.catch(() => {});
    }
    unusable = !stopped && intake.classList.contains('none');
    tell(stopped ? words.stopped : unusable ? words.unusable : '');
  } catch {
    tell(fill(words.lost, {n: n - looked, names: some(names.slice(looked))}));
  }
  remember([]);
  queue.length = 0;
  more = () => {};
  box.classList.remove('at-work');
  working = false;
};
// Lists the files that a closed tab had not sent.
window.addEventListener('beforeunload', event => {
  if (working) event.preventDefault();
});
const left = recall();
if (left.length) tell(fill(words.left, {n: left.length, names: some(left)}));
remember([]);
const named = files => [...files].map(file => ({file, name: file.webkitRelativePath || file.name}));
inputs.forEach(input =>
  input.addEventListener('change', () => {
    take(named(input.files));
    input.value = '';
  }),
);
element
  .querySelectorAll('[data-opens]')
  .forEach(button => button.addEventListener('click', () => element.querySelector(`#${button.dataset.opens}`).click()));
// Imports a set once, however often it is clicked before its pictures appear.
const TAKES = 10000;
let choosing = 0;
element.addEventListener('click', event => {
  const sample = event.target.closest('[data-sample]');
  if (!sample || choosing) return;
  choosing = setTimeout(forgetChoice, TAKES);
  trigger('sample_chosen', {sample: sample.dataset.sample, seen: 0});
});
const forgetChoice = () => {
  clearTimeout(choosing);
  choosing = 0;
};
const shown = () => box.offsetParent !== null;
whenDropped(
  shown,
  on => box.classList.toggle('over', on),
  async dropped => {
    // Before the first await, after which the list is empty.
    const entries = [...dropped.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = named(dropped.files);
    take(entries.length ? (await Promise.all(entries.map(walk))).flat() : files);
  },
);
document.addEventListener('paste', event => {
  if (shown() && event.clipboardData?.files.length) {
    event.preventDefault();
    take(named(event.clipboardData.files));
  }
});
