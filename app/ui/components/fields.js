// A field's attributes have the server's value, its properties the current one. A select has no `value` attribute;
// `data-known` has the server's value.
const settleField = field => {
  const known = field.matches('select') ? field.dataset.known : field.getAttribute('value');
  if (field.matches('[type=radio], [type=checkbox]')) field.checked = field.hasAttribute('checked');
  else if (field.value !== known) field.value = known;
};
// After a merge the properties follow the attributes, except for text that `stays` because it is being typed or sent.
const settleFields = (within, stays) => {
  within.querySelectorAll('[type=radio], [type=checkbox], select[data-known]').forEach(settleField);
  for (const field of within.querySelectorAll('input[type=text][value], textarea[value]'))
    if (!stays(field)) settleField(field);
};
