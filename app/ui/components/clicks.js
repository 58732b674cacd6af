// Buttons of ours that ask the server for something.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const {revision} = document.body.dataset; // of the pictures, where there are any
  trigger('asked', {
    what: button.dataset.do,
    about: button.dataset.about || '',
    ...(revision && {seen: +revision}),
  });
});
