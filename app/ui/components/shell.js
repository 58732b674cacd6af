// The bar of every page. Gradio gives all pages of an app the same title, and follows the system's theme.
document.title = props.page;
const {body} = document;
const obey = () => body.classList.toggle('dark', root.dataset.theme === 'dark');
obey();
const watcher = new MutationObserver(obey);
watcher.observe(body, {attributeFilter: ['class']});
watcher.observe(root, {attributeFilter: ['data-theme']});
// Gradio reports the browser's language there.
const sayLanguage = () => root.lang !== language.value && (root.lang = language.value);
new MutationObserver(sayLanguage).observe(root, {attributeFilter: ['lang']});
sayLanguage();
// Shows the activity of the computer and starts a refresh at each new version.
const busy = element.querySelector('.busy'),
  user = window.gradio_config?.username;
let version = 0; // the studio's version
followNow(now => {
  if (now.away) return showAway(true);
  // The user of this page has logged out, perhaps in another tab, or another one has logged in: only a new page gets
  // answers now.
  if (user && now.user !== user) return leave();
  showAway(false);
  if (busy.lastChild.textContent !== now.line) busy.lastChild.textContent = now.line;
  busy.toggleAttribute('data-on', now.busy);
  busy.title = now.line;
  busy.href = now.page;
  announce(now);
  document.dispatchEvent(new CustomEvent('velatura:now', {detail: now}));
  if (version && version < now.version) document.dispatchEvent(new Event('velatura:changed'));
  version = now.version;
});
if (user) {
  const out = document.createElement('form'),
    button = document.createElement('button');
  out.method = 'post'; // other sites could follow a link
  out.action = 'logout';
  button.className = 'user';
  button.insertAdjacentHTML('beforeend', props.login.icon);
  button.setAttribute('aria-label', props.login.label.replace('{name}', user));
  out.append(button);
  const account = document.createElement('a');
  account.href = 'account';
  account.className = 'user';
  account.append(user);
  account.setAttribute('aria-label', props.login.account.replace('{name}', user));
  element.querySelector('.theme').before(account, out);
  // Browsers keep a page for their back button: reload it, as the next person may be another one.
  out.addEventListener('submit', () => {
    root.hidden = true;
  });
  window.addEventListener('pageshow', event => {
    if (event.persisted) location.reload();
  });
}
