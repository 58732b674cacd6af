// The full read-only link, whose origin only the browser knows, and its copy button.
const fillLink = () => {
  const field = element.querySelector('[data-link]');
  if (!field) return;
  const address = new URL(field.dataset.link, document.baseURI),
    here = /^(localhost|127\.[\d.]+|\[::1\])$/.test(address.hostname);
  field.value = address.href;
  element.querySelector('.everywhere').hidden = here;
  element.querySelector('.here').hidden = !here;
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
    field.select(); // for copying by hand
  }
});
