// Menus, dialogs and pages of a list of runs or styles, and of their own pages.
const ask = (button, more = {}) => {
  const asked = {what: button.dataset.do, about: button.dataset.about || '', ...more};
  trigger('asked', asked);
  element.dispatchEvent(new CustomEvent('velatura:asked', {detail: asked}));
};
const question = button => {
  const dialog = document.querySelector(`dialog.ask[data-what="${button.dataset.do}"]`);
  return dialog?.querySelector('[data-noted]') && !button.dataset.note ? null : dialog; // nothing is lost
};
// The number of steps in a dialog: by default twice the current one, and at least one more.
const putSteps = (dialog, steps) => {
  const field = dialog.querySelector('[data-twice]');
  if (!field) return;
  const wrong = dialog.querySelector('[data-words]'),
    bounds = {least: steps, most: field.dataset.most};
  field.value = Math.min(2 * steps, bounds.most);
  wrong.textContent = '';
  dialog.querySelector('form').onsubmit = event => {
    const asked = field.value.trim();
    if (/^\d+$/.test(asked) && +asked > bounds.least && +asked <= bounds.most) return;
    event.preventDefault();
    wrong.textContent = wrong.dataset.words.replace(/\{(\w+)\}/g, (_, name) => bounds[name]);
    field.setAttribute('aria-invalid', 'true');
    field.focus();
  };
  field.removeAttribute('aria-invalid');
  field.select();
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
  putSteps(dialog, +button.dataset.steps);
};
const closeMenus = () => {
  for (const menu of element.querySelectorAll('.more[open]')) menu.open = false;
};
element.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const dialog = question(button);
  closeMenus();
  if (dialog) return putTo(dialog, button);
  button.disabled = true; // until the answer arrives, or for a while if none does
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
element.addEventListener('click', event => {
  const page = event.target.closest('[data-page]');
  if (page) document.dispatchEvent(new CustomEvent('velatura:page', {detail: +page.dataset.page}));
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
