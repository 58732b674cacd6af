// The questions of a page: the quiet button closes, the other one answers.
element.addEventListener('click', event => {
  if (event.target.closest('[data-close]')) event.target.closest('dialog').close('');
  else if (event.target.matches('dialog')) event.target.close(''); // beside the question
});
