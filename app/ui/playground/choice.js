// Which of the last generations is looked at goes to the server with each look; one that is drawn takes its place.
document.addEventListener('click', event => {
  const button = element.isConnected && event.target.closest('[data-show]');
  if (!button) return;
  props.value = button.dataset.show;
  document.dispatchEvent(new Event('velatura:look'));
});
