// The filter of a list. Each refresh sends the current choice and page number, so a late answer to an earlier choice is
// replaced.
let timer = 0;
// Without accounts everything belongs to the user.
if (!window.gradio_config?.username) element.querySelector('option[value=mine]')?.remove();
const send = page => {
  clearTimeout(timer);
  props.value = JSON.stringify({
    search: element.querySelector('input').value,
    show: element.querySelector('select[id$=-show]')?.value || 'all',
    sort: element.querySelector('select[id$=-sort]').value,
    page,
  });
  document.dispatchEvent(new Event('velatura:look'));
};
element.addEventListener('input', event => {
  clearTimeout(timer);
  timer = setTimeout(() => send(1), event.target.matches('input') ? 250 : 0);
});
document.addEventListener('velatura:page', event => element.isConnected && send(event.detail));
