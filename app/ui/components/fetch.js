// Buttons that save a file which the server creates first.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-fetch]');
  if (!button) return;
  button.disabled = true;
  setTimeout(() => {
    button.disabled = false;
  }, 1500);
  trigger('fetched', {file: button.dataset.fetch});
  const menu = button.closest('details.more');
  if (!menu) return;
  menu.open = false;
  menu.querySelector('summary').focus();
});
