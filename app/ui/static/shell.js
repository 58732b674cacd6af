// The bar of every page. Gradio gives all pages of an app one title, and follows the system's theme by itself.
document.title = props.page;
const root = document.documentElement, body = document.body;
const obey = () => body.classList.toggle('dark', root.dataset.theme === 'dark');
obey();
new MutationObserver(() => body.classList.contains('dark') !== (root.dataset.theme === 'dark') && obey())
  .observe(body, {attributes: true, attributeFilter: ['class']});
element.querySelector('.theme').addEventListener('click', () => {
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  obey();
  try { localStorage.setItem('velatura-theme', root.dataset.theme); } catch { /* a private window forgets */ }
});
const user = window.gradio_config?.username;
if (user) {
  const out = document.createElement('a');
  out.className = 'user';
  out.href = 'logout';
  out.append(user);
  out.insertAdjacentHTML('beforeend', props.login.icon);
  out.setAttribute('aria-label', `${props.login.label}: ${user}`);
  element.querySelector('.theme').before(out);
}
// The first heading is what "skip to the content" and a screen reader go to.
const main = document.querySelector('main') || document.querySelector('.main');
if (main) main.id ||= 'content';
element.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  const first = [...document.querySelectorAll('h1')].find(one => one.offsetParent);
  if (first) { first.tabIndex = -1; first.focus(); first.scrollIntoView({block: 'center'}); }
});
