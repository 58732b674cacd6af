// Shows the server's answers: changed rows, large copies, a refused mask.
const draw = () => {
  const value = props.value || {};
  if (value.large) return editor?.heard(value.large);
  if (value.problem) {
    editor?.settleRegions(value.ack);
    settleEdits(value);
    return editor?.showKept(value.problem);
  }
  if (value.revision === undefined) return;
  const had = document.body.dataset.revision,
    overtaken = had !== undefined && value.revision < +had; // by a newer state, which the page shows
  const answered = flying && value.ack === flying.count;
  if (overtaken) {
    if (answered) landed(true);
    editor?.settleRegions(value.ack);
    settleEdits(value);
    return send();
  }
  const writing = [...typed].filter(([id]) => rows.has(id)),
    length = order.length,
    retitled = value.trigger !== place.trigger,
    fresh = follow(value);
  if (answered) landed(Boolean(fresh));
  settleEdits(value);
  if (!fresh) return trigger('asked', {what: 'whole', seen: seen()});
  Object.assign(place, {previews: value.previews, trigger: value.trigger});
  Object.assign(document.body.dataset, {
    revision: value.revision,
    pictures: order.length,
    captionless: order.filter(id => !rows.get(id).caption).length,
    draft: value.draft,
  });
  wall.hidden = !order.length;
  const moved = value.whole || order.length !== length;
  if (moved) refilter(false);
  for (const id of cards.keys()) if (moved || fresh.includes(id) || retitled) paint(id);
  editor?.follow(value.ack);
  countTags();
  document.dispatchEvent(new Event('velatura:pictures'));
  if (+had < value.revision) tabs.postMessage({draft: value.draft, revision: value.revision});
  for (const [id, text] of writing) if (!rows.has(id) && !removed.has(id)) told.textContent = fill(words.gone, {text});
  if (had === undefined) {
    restoreEdits();
    restore();
  } else if (answered || waiting.size) send();
};
// Other tabs of this browser show the same draft: each requests another's changes, but not while the user types in it,
// as the picture may be gone.
const tabs = new BroadcastChannel('velatura-draft');
let newest = 0;
const catchUp = () => {
  const types = document.hasFocus() && document.activeElement?.matches('textarea, input[type=text]');
  if (newest > seen() && !types) trigger('asked', {what: 'show', seen: seen()});
};
tabs.onmessage = ({data: {draft, revision}}) => {
  if (draft !== document.body.dataset.draft) return;
  newest = revision;
  catchUp();
};
addEventListener('blur', catchUp);
document.addEventListener('focusout', () => setTimeout(catchUp));
watch('value', draw);
draw();
