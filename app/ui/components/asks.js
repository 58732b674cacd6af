// Buttons of ours that ask the server for something, and links between the steps.
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (button)
    trigger('asked', {
      what: button.dataset.do,
      about: button.dataset.about || '',
      seen: +document.body.dataset.revision || 0,
    });
});
