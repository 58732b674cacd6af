// Bulk changes and deletions, kept in the browser's storage until acknowledged, through reloads and server outages.
// They are sent one by one, after captions typed before them.
const AGAIN = 6000;
const edits = []; // not acknowledged yet, oldest first
const outcome = element.querySelector('.outcome');
let editing = null; // the one being sent
const isDeleted = id => edits.some(({data}) => data.what === 'delete' && data.ids.includes(id));
const sendEdit = () => {
  const [edit] = edits;
  if (!edit || editing || flying || [...waiting].some(id => rows.has(id))) return;
  const mine = (editing = {count: ++count});
  const data = {...edit.data, seen: seen(), count: mine.count};
  edit.event === 'captions_replaced' ? trigger('captions_replaced', data) : trigger('pictures_changed', data);
  setTimeout(() => {
    if (editing !== mine) return;
    editing = null;
    sendEdit();
  }, AGAIN);
};
// The mark lets the server recognise an edit whose answer was lost.
const perform = (event, asked) => {
  const edit = {event, data: {...asked, mark: Math.random().toString(36).slice(2)}};
  edits.push(edit);
  unsent.note(`edit:${edit.data.mark}`, JSON.stringify(edit));
  outcome.textContent = '';
  if (asked.what === 'delete') asked.ids.forEach(paint);
  setTimeout(() => edits.includes(edit) && (outcome.textContent = words.not_saved), AGAIN);
  send();
};
const settleEdits = ({ack, said}) => {
  if (!editing || ack !== editing.count) return;
  const done = edits.shift();
  editing = null;
  unsent.landed(`edit:${done.data.mark}`, JSON.stringify(done));
  outcome.textContent = said || '';
  sendEdit();
};
const restoreEdits = () => {
  const left = Object.values(unsent.left('edit:')).sort((one, other) => one.at - other.at);
  edits.push(...left.map(({text}) => JSON.parse(text)));
};
document.addEventListener('velatura:edit', ({detail}) => perform(detail.event, detail.data));
