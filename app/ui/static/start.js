// The third step: the name and the prompts are kept as they are typed; Start leads to the run's page.
let timer = 0;
const keep = field => { clearTimeout(timer); trigger('asked', {what: field.id === 'prompts' ? 'prompts' : 'name', text: field.value}); };
const words = field => field.matches('#style-name, #prompts');
element.addEventListener('input', event => { if (words(event.target)) { clearTimeout(timer); timer = setTimeout(keep, 500, event.target); } });
element.addEventListener('change', event => { if (words(event.target)) keep(event.target); });
element.addEventListener('keydown', event => { if (event.key === 'Enter' && event.target.id === 'style-name') event.target.blur(); });
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]'), start = event.target.closest('[data-start]');
  if (button) trigger('asked', {what: button.dataset.do});
  if (!start || start.disabled) return;
  clearTimeout(timer);
  start.disabled = true;
  start.textContent = start.dataset.busy;
  const typed = id => document.getElementById(id).value;
  trigger('started', {name: typed('style-name'), prompts: typed('prompts')});
});
const settle = () => {
  const going = element.querySelector('[data-run]');
  if (going) { location.href = `run?id=${encodeURIComponent(going.dataset.run)}`; return; }
  for (const field of element.querySelectorAll('input[value], textarea[value]'))
    if (field !== document.activeElement && field.value !== field.getAttribute('value')) field.value = field.getAttribute('value');
  const start = element.querySelector('[data-start]');
  if (start && element.querySelector('.problem')) start.disabled = false;
};
watch('value', () => setTimeout(settle));
setTimeout(settle);
