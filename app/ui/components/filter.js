// The filter of a list: what is chosen is sent when typing pauses, and the page's number with it.
let timer = 0;
// Without accounts everything is one's own.
if (!window.gradio_config?.username) element.querySelector('option[value=mine]')?.remove();
const send = page =>
  trigger('chosen', {
    search: element.querySelector('input').value,
    show: element.querySelector('select')?.value || 'all',
    page,
  });
element.addEventListener('input', event => {
  clearTimeout(timer);
  timer = setTimeout(() => send(1), event.target.matches('input') ? 250 : 0);
});
