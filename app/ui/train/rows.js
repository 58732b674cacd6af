// The pictures of the draft: the server's state of each, and unsent text. The server sends all rows once, then only
// changed ones.
const {words} = props,
  fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const FIELDS = ['id', 'name', 'caption', 'height', 'width', 'notes', 'crop', 'mask', 'frame', 'rival', 'rotation'];
const rows = new Map(), // by picture
  typed = new Map(); // unsent texts of fields
let order = [],
  place = {previews: '', trigger: ''};
const seen = () => +document.body.dataset.revision || 0;
const textOf = id => typed.get(id) ?? rows.get(id).caption;
const unpacked = (packed, says) => {
  const row = Object.fromEntries(FIELDS.map((name, k) => [name, packed[k]]));
  row.notes = row.notes.map(k => says[k]);
  return row;
};
// Applies an update and returns the changed pictures, or null if it is about another state than the page's.
const follow = ({whole, since, revision, says, rows: all, added, changed, gone}) => {
  const had = document.body.dataset.revision;
  if (!whole && since !== +had && revision !== +had) return null;
  const fresh = (whole ? all : [...added.map(([, row]) => row), ...changed]).map(row => unpacked(row, says));
  if (whole) {
    const kept = new Set(fresh.map(row => row.id));
    for (const id of order) if (!kept.has(id)) rows.delete(id);
    order = fresh.map(row => row.id);
  } else {
    const lost = new Set(gone);
    if (lost.size) order = order.filter(id => !lost.has(id));
    lost.forEach(id => rows.delete(id));
    const at = new Set(order);
    for (const [index, [id]] of added) if (!at.has(id)) order.splice(index, 0, id);
  }
  for (const row of fresh) rows.set(row.id, row);
  order.forEach((id, k) => {
    rows.get(id).number = k + 1;
  });
  return fresh.map(row => row.id);
};
