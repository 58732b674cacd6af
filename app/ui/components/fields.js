// A field's attributes are what the server knows; its properties are what stands in it. After a merge they follow what
// the server knows, except for text that `stays`: what somebody is typing, or what is on its way.
const settleFields = (within, stays) => {
  for (const field of within.querySelectorAll('input[type=radio], input[type=checkbox]'))
    field.checked = field.hasAttribute('checked');
  for (const field of within.querySelectorAll('select[data-known]')) field.value = field.dataset.known;
  for (const field of within.querySelectorAll('input[type=text][value], textarea[value]'))
    if (field.value !== field.getAttribute('value') && !stays(field)) field.value = field.getAttribute('value');
};
