// A field's attributes are what the server knows; its properties are what stands in it. After something was merged they
// follow what the server knows, but for the words that `stay`: those of somebody who is typing, or that are on their way.
const settleFields = (within, stays) => {
  for (const field of within.querySelectorAll('input[type=radio], input[type=checkbox]'))
    field.checked = field.hasAttribute('checked');
  for (const field of within.querySelectorAll('select[data-known]')) field.value = field.dataset.known;
  for (const field of within.querySelectorAll('input[type=text][value], textarea[value]'))
    if (field.value !== field.getAttribute('value') && !stays(field)) field.value = field.getAttribute('value');
};
