// The filter of a list. What is chosen, and the page's number with it, goes to the server with each look: an answer to
// an earlier choice that comes late is followed by one to the newest.
let timer = 0;
// Without accounts everything is one's own.
if (!window.gradio_config?.username) element.querySelector('option[value=mine]')?.remove();
const send = page => {
  clearTimeout(timer);
  props.value = JSON.stringify({
    search: element.querySelector('input').value,
    show: element.querySelector('select')?.value || 'all',
    page,
  });
  document.dispatchEvent(new Event('velatura:look'));
};
element.addEventListener('input', event => {
  clearTimeout(timer);
  timer = setTimeout(() => send(1), event.target.matches('input') ? 250 : 0);
});
document.addEventListener('velatura:page', event => element.isConnected && send(event.detail));
