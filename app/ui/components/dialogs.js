// A page's dialogs: the quiet button closes the dialog, the other one confirms.
element.addEventListener('click', event => {
  if (event.target.closest('[data-close]')) event.target.closest('dialog').close('');
  else if (event.target.matches('dialog')) event.target.close(''); // a click on the backdrop
});
