// Each refresh sends the chosen generation; one that is being drawn replaces it.
document.addEventListener('click', event => {
  const button = element.isConnected && event.target.closest('[data-show]');
  if (!button) return;
  props.value = button.dataset.show;
  document.dispatchEvent(new Event('velatura:look'));
});
