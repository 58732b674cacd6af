// Where pictures come in: files, folders, ZIPs, pastes. Uploads go one at a time; meanwhile the server looks at what
// has arrived, a few at a time, so that cards appear early and a closed page loses little.
const BATCH = 8, LARGEST = 200 * 2 ** 20;
const box = element.querySelector('.zone'), inputs = element.querySelectorAll('input[type=file]');
const intake = element.querySelector('.intake');
const settle = () => { const none = document.body.dataset.pictures === '0'; intake.classList.toggle('none', none); intake.classList.toggle('some', !none); };
document.addEventListener('velatura:pictures', settle);
let busy = false;
const list = reader => new Promise((done, failed) => {  // readEntries gives at most 100 names a call
  const all = [], more = () => reader.readEntries(part => part.length ? (all.push(...part), more()) : done(all), failed);
  more();
});
const walk = async entry => {
  if (entry.isDirectory) return (await Promise.all((await list(entry.createReader())).map(walk))).flat();
  const file = await new Promise((done, failed) => entry.file(done, failed));
  return [{file, name: entry.fullPath.replace(/^\//, '')}];
};
const meant = ({name}) => !name.split('/').some(part => part.startsWith('.') || part === '__MACOSX' || /^(thumbs\.db|desktop\.ini)$/i.test(part));
const bring = async ({file, name}, progress) => {
  if (file.size > LARGEST) return {name, problem: fill(words.large, {name})};
  try { return {name, path: await send(file, progress)}; }
  catch { return {name, problem: fill(words.failed, {name})}; }
};
const take = async found => {
  const files = found.filter(meant);
  if (!files.length) return tell(words.nothing);
  if (busy) return;
  // Texts come last: they are captions of pictures that must be here first.
  files.sort((a, b) => /\.txt$/i.test(a.name) - /\.txt$/i.test(b.name));
  [busy, stopped] = [true, false];
  box.classList.add('at-work');
  let ready = [], arrived = 0, looked = 0, looking = null, bytes = 0;
  const whole = files.reduce((sum, {file}) => sum + file.size, 0) || 1;
  const next = () => {
    if (looking || !ready.length || stopped) return looking;
    const some = ready.splice(0, BATCH);
    looking = look('added', some, {seen: +document.body.dataset.revision || 0}).then(() => { looked += some.length; looking = null; progress(); return next(); });
    return looking;
  };
  const progress = (coming = 0) => {
    const n = files.length, sent = (bytes + coming) / whole, done = (Math.min(sent, 1) + looked / n) / 2;
    if (arrived < n) tell(fill(words.uploading, {k: arrived + 1, n}), done, sent);
    else tell(fill(words.looking, {k: Math.min(looked + 1, n), n}), done);
  };
  try {
    for (const one of files) {
      if (stopped) break;
      progress();
      const here = await bring(one, share => progress(share * one.file.size));
      if (stopped) break;
      ready.push(here);
      arrived++;
      bytes += one.file.size;
      next()?.catch(() => {});
    }
    if (!stopped) progress();
    while (!stopped && (looking || ready.length)) await next();
    tell(stopped ? words.stopped : '');
  } catch { tell(words.lost); }
  box.classList.remove('at-work');
  busy = false;
};
const named = files => [...files].map(file => ({file, name: file.webkitRelativePath || file.name}));
inputs.forEach(input => input.addEventListener('change', () => { take(named(input.files)); input.value = ''; }));
element.querySelectorAll('[data-opens]').forEach(button => button.addEventListener('click', () => element.querySelector(`#${button.dataset.opens}`).click()));
element.addEventListener('click', event => {
  const sample = event.target.closest('[data-sample]');
  if (sample) trigger('sampled', {sample: sample.dataset.sample, seen: 0});
});
const shown = () => box.offsetParent !== null;
whenDropped(shown, on => box.classList.toggle('over', on), async dropped => {
  // Before the first await: the list is emptied after it.
  const entries = [...dropped.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = named(dropped.files);
  take(entries.length ? (await Promise.all(entries.map(walk))).flat() : files);
});
document.addEventListener('paste', event => {
  if (shown() && event.clipboardData?.files.length) { event.preventDefault(); take(named(event.clipboardData.files)); }
});
