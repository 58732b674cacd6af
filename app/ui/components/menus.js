// What can be done with a run or a style, in a list and on its own page: menus, questions, pages of the list.
const ask = (button, more = {}) => {
  const asked = {what: button.dataset.do, about: button.dataset.about || '', ...more};
  trigger('asked', asked);
  element.dispatchEvent(new CustomEvent('velatura:asked', {detail: asked}));
};
const question = button => {
  const dialog = document.querySelector(`dialog.ask[data-what="${button.dataset.do}"]`);
  return dialog?.querySelector('[data-noted]') && !button.dataset.note ? null : dialog; // nothing is lost by it
};
const putTo = (dialog, button) => {
  const title = dialog.querySelector('[data-title]');
  title.textContent = title.dataset.title.replace('{}', button.dataset.name || button.dataset.about);
  dialog.querySelector('form').reset();
  const noted = dialog.querySelector('[data-noted]');
  if (noted) noted.textContent = button.dataset.note;
  for (const field of dialog.querySelectorAll('[data-named]')) field.value = button.dataset.name;
  dialog.returnValue = '';
  dialog.onclose = () => {
    if (dialog.returnValue === 'yes') ask(button, Object.fromEntries(new FormData(dialog.querySelector('form'))));
    (button.closest('.more')?.querySelector('summary') || button).focus({preventScroll: true});
  };
  dialog.showModal();
  dialog.querySelector('[data-named]')?.select();
};
const closeMenus = except => {
  for (const menu of element.querySelectorAll('.more[open]')) if (menu !== except) menu.open = false;
};
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  closeMenus(event.target.closest('.more'));
  if (!button) return;
  const dialog = question(button);
  closeMenus();
  if (dialog) return putTo(dialog, button);
  button.disabled = true; // until the answer comes, or for a while where none does
  setTimeout(() => {
    button.disabled = false;
  }, 1500);
  ask(button);
});
element.addEventListener('keydown', event => {
  const menu = event.target.closest('.more[open]');
  if (event.key === 'Escape' && menu) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});
document.addEventListener('click', event => {
  if (element.isConnected && !element.contains(event.target)) closeMenus();
});
element.addEventListener('click', event => {
  const page = event.target.closest('[data-page]');
  if (page) trigger('chosen', {page: +page.dataset.page});
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-fetch]'),
    menu = button?.closest('.more');
  if (button) trigger('fetched', {file: button.dataset.fetch, at: Date.now()});
  if (menu) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});
// A run's page is called by how far it is, and says to its other parts whether anything more is to come.
const name = () => {
  const title = element.querySelector('[data-title]');
  if (!title?.matches('.title')) return;
  document.title = `${title.dataset.title} · Velatura`;
  document.body.toggleAttribute('data-ended', 'ended' in title.dataset);
};
watch('value', () => setTimeout(name));
setTimeout(name);
