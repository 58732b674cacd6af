// Styles come in, chosen or dropped; and prompt words go to the clipboard.
const {words} = props, LARGEST = words.most * 2 ** 20, PATIENCE = 120000, SHOWN_FOR = 6000;
const input = element.querySelector('input'), button = element.querySelector('button');
const say = element.querySelector('.said'), toast = element.querySelector('.toast');
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
let batch = 0, answered = () => {}, busy = false;
watch('value', () => answered(props.value?.batch));
const look = files => new Promise((done, lost) => {      // resolves when the server has looked at the files
  const mine = ++batch, alarm = setTimeout(lost, PATIENCE);
  answered = heard => { if (heard === mine) { clearTimeout(alarm); done(); } };
  trigger('brought', {files, batch: mine});
});
const refusal = ({name, size}) => !/\.safetensors$/i.test(name) ? 'other' : size > LARGEST ? 'large' : '';
const send = async file => {
  const name = file.name, problem = refusal(file);
  if (problem) return {name, problem};
  try { return {name, path: (await upload(file)).path}; } catch { return {name, problem: 'failed'}; }
};
const bring = async files => {
  if (busy || !files.length) return;
  [busy, button.disabled] = [true, true];
  const sent = [];
  for (const file of files) {
    say.textContent = fill(words.uploading, {k: sent.length + 1, n: files.length});
    sent.push(await send(file));
  }
  say.textContent = fill(words.looking, {name: files.length > 1 ? fill(words.several, {n: files.length}) : files[0].name});
  try { await look(sent); say.textContent = ''; } catch { say.textContent = words.lost; }
  [busy, button.disabled] = [false, false];
};
button.addEventListener('click', () => input.click());
input.addEventListener('change', () => { bring([...input.files]); input.value = ''; });
const carries = event => [...(event.dataTransfer?.types || [])].includes('Files');
const over = on => element.classList.toggle('over', on);
document.addEventListener('dragover', event => { if (element.isConnected && carries(event)) { event.preventDefault(); over(true); } });
document.addEventListener('dragleave', event => { if (!event.relatedTarget) over(false); });
document.addEventListener('drop', event => {             // anywhere on the page: a drop must not leave it
  if (!element.isConnected || !carries(event)) return;
  event.preventDefault();
  over(false);
  bring([...event.dataTransfer.files]);
});
const copy = async text => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement('textarea'), {value: text});   // a page without https
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (!done) throw new Error('refused');
};
document.addEventListener('toggle', event => {            // a menu opens upwards, and may begin above the window
  if (element.isConnected && event.target.matches('.shelf .more[open]')) event.target.querySelector('.menu').scrollIntoView({block: 'nearest'});
}, true);
let timer = 0;
document.addEventListener('click', async event => {
  const asked = element.isConnected && event.target.closest('[data-copy]');
  if (!asked) return;
  const text = asked.dataset.copy, menu = asked.closest('.more');
  menu.open = false;
  menu.querySelector('summary').focus();
  let said = words.copied;
  try { await copy(text); } catch { said = words.uncopied; }
  toast.textContent = fill(said, {text});
  clearTimeout(timer);
  timer = setTimeout(() => { toast.textContent = ''; }, SHOWN_FOR);
});
