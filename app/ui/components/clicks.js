// Buttons that send an event to the server.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const {revision} = document.body.dataset; // revision of the draft, if the page shows one
  trigger('asked', {
    what: button.dataset.do,
    about: button.dataset.about || '',
    ...(revision && {seen: +revision}),
  });
});
