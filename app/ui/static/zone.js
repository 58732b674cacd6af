// Where pictures come in: files, folders, ZIPs, pastes. Uploads go one at a time; meanwhile the server looks at what
// has arrived, a few at a time, so that cards appear early and a closed page loses little.
const {words} = props, BATCH = 8, LARGEST = 200 * 2 ** 20, PATIENCE = 120000;
const box = element.querySelector('.zone'), say = element.querySelector('.said'), bar = element.querySelector('.bar');
const stop = element.querySelector('.stop'), inputs = element.querySelectorAll('input[type=file]');
const intake = element.querySelector('.intake');
const settle = () => { const none = document.body.dataset.pictures === '0'; intake.classList.toggle('none', none); intake.classList.toggle('some', !none); };
document.addEventListener('velatura:pictures', settle);
let batch = 0, answered = () => {}, stopped = false, busy = false;
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const tell = (text, done = null) => {
  say.textContent = text;
  box.classList.toggle('at-work', done !== null);
  bar.hidden = stop.hidden = done === null;
  if (done !== null) {
    bar.setAttribute('aria-valuenow', Math.round(100 * done));
    bar.firstElementChild.style.width = `${100 * done}%`;
  }
};
watch('value', () => answered(props.value?.batch));
const look = files => new Promise((done, lost) => {    // resolves when the server has taken the files in
  const mine = ++batch, alarm = setTimeout(lost, PATIENCE);
  answered = heard => { if (heard === mine) { clearTimeout(alarm); done(); } };
  trigger('added', {files, batch: mine, seen: +document.body.dataset.revision || 0});
});
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
const send = async ({file, name}) => {
  if (file.size > LARGEST) return {name, problem: fill(words.large, {name})};
  try { return {name, path: (await upload(file)).path}; }
  catch { return {name, problem: fill(words.failed, {name})}; }
};
const take = async found => {
  const files = found.filter(meant);
  if (!files.length) return tell(words.nothing);
  if (busy) return;
  // Texts come last: they are captions of pictures that must be here first.
  files.sort((a, b) => /\.txt$/i.test(a.name) - /\.txt$/i.test(b.name));
  [busy, stopped] = [true, false];
  let ready = [], looked = 0, looking = null;
  const next = () => {
    if (looking || !ready.length || stopped) return looking;
    const some = ready.splice(0, BATCH);
    looking = look(some).then(() => { looked += some.length; looking = null; progress(); return next(); });
    return looking;
  };
  let arrived = 0;
  const progress = () => tell(arrived < files.length ? fill(words.uploading, {k: Math.min(arrived + 1, files.length), n: files.length})
    : fill(words.looking, {k: Math.min(looked + 1, files.length), n: files.length}), (arrived + looked) / 2 / files.length);
  try {
    for (const file of files) {
      if (stopped) break;
      progress();
      ready.push(await send(file));
      arrived++;
      next()?.catch(() => {});
    }
    progress();
    while (!stopped && (looking || ready.length)) await next();
    tell(stopped ? words.stopped : '');
  } catch { tell(words.lost); }
  busy = false;
};
const named = files => [...files].map(file => ({file, name: file.webkitRelativePath || file.name}));
inputs.forEach(input => input.addEventListener('change', () => { take(named(input.files)); input.value = ''; }));
stop.addEventListener('click', () => { stopped = true; });
element.querySelectorAll('[data-opens]').forEach(button => button.addEventListener('click', () => element.querySelector(`#${button.dataset.opens}`).click()));
element.addEventListener('click', event => {
  const sample = event.target.closest('[data-sample]');
  if (sample) trigger('sampled', {sample: sample.dataset.sample, seen: 0});
});
const carries = event => [...(event.dataTransfer?.types || [])].includes('Files');
const over = on => box.classList.toggle('over', on);
const shown = () => box.offsetParent !== null;
document.addEventListener('dragover', event => { if (shown() && carries(event)) { event.preventDefault(); over(true); } });
document.addEventListener('dragleave', event => { if (!event.relatedTarget) over(false); });
document.addEventListener('drop', async event => {      // anywhere on the page: a drop beside the zone must not leave it
  if (!shown() || !carries(event)) return;
  event.preventDefault();
  over(false);
  // Before the first await: the list is emptied after it.
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = named(event.dataTransfer.files);
  take(entries.length ? (await Promise.all(entries.map(walk))).flat() : files);
});
document.addEventListener('paste', event => {
  if (shown() && event.clipboardData?.files.length) { event.preventDefault(); take(named(event.clipboardData.files)); }
});
