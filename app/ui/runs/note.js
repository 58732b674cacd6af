// The note and the tags of a run are stored as they are typed.
const PATIENCE = 5000,
  timers = {};
let restored = false;
const keyOf = ({dataset, parentElement}) => `${parentElement.parentElement.dataset.about}:${dataset.field}`;
const typing = inTurn(
  (key, text, count) => trigger('noted', {field: key.slice(key.lastIndexOf(':') + 1), text, count}),
  PATIENCE,
  unsent.landed,
);
const keep = field => {
  const key = keyOf(field);
  clearTimeout(timers[key]);
  if (typing.latest(key) !== field.value) typing.put(key, field.value);
};
element.addEventListener('input', ({target}) => {
  const key = keyOf(target);
  unsent.note(key, target.value, target.getAttribute('value'));
  clearTimeout(timers[key]);
  timers[key] = setTimeout(keep, 500, target);
});
element.addEventListener('change', ({target}) => unsent.has(keyOf(target)) && keep(target));
element.addEventListener('keydown', event => event.key === 'Enter' && event.target.blur());
const settle = () => {
  const fields = [...element.querySelectorAll('[data-field]')];
  if (fields.length && !restored) {
    restored = true;
    for (const field of fields)
      for (const {text} of Object.values(unsent.left(keyOf(field)))) {
        field.value = text;
        keep(field);
      }
  }
  settleFields(element, field => field === document.activeElement || unsent.has(keyOf(field)));
};
watch('value', () => {
  typing.land(answeredIn(props.value));
  setTimeout(settle);
});
setTimeout(settle);
