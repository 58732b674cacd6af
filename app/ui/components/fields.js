// A field's attributes are what the server knows; its properties are what stands in it. A select has no `value` of its
// own: what the server knows of it is `data-known`.
const settleField = field => {
  const known = field.matches('select') ? field.dataset.known : field.getAttribute('value');
  if (field.matches('[type=radio], [type=checkbox]')) field.checked = field.hasAttribute('checked');
  else if (field.value !== known) field.value = known;
};
// After a merge they follow what the server knows, except for text that `stays`: what somebody is typing, or what is on
// its way.
const settleFields = (within, stays) => {
  within.querySelectorAll('[type=radio], [type=checkbox], select[data-known]').forEach(settleField);
  for (const field of within.querySelectorAll('input[type=text][value], textarea[value]'))
    if (!stays(field)) settleField(field);
};
