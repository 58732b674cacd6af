// A read-only link in full, which only the browser knows, and its way to the clipboard.
const fillLink = () => {
  const field = element.querySelector('[data-link]');
  if (field) field.value = new URL(field.dataset.link, document.baseURI).href;
};
watch('value', () => setTimeout(fillLink));
element.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy-link]');
  if (!button) return;
  const field = element.querySelector('[data-link]');
  try {
    await copy(field.value);
    button.textContent = props.words.copied;
  } catch {
    field.select(); // to be copied by hand
  }
});
