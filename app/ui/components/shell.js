// The bar of every page. Gradio gives all pages of an app one title, and follows the system's theme by itself.
document.title = props.page;
const root = document.documentElement,
  body = document.body;
const obey = () => body.classList.toggle('dark', root.dataset.theme === 'dark');
obey();
new MutationObserver(() => body.classList.contains('dark') !== (root.dataset.theme === 'dark') && obey()).observe(
  body,
  {attributes: true, attributeFilter: ['class']},
);
element.querySelector('.theme').addEventListener('click', () => {
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  obey();
  try {
    localStorage.setItem('velatura-theme', root.dataset.theme);
  } catch {
    /* a private window forgets */
  }
});
// What the computer does, in one line; asked for only while somebody looks, and at once where the queue has changed.
const busy = element.querySelector('.busy'),
  user = window.gradio_config?.username;
let next = 0,
  asking = false;
const look = async () => {
  if (!element.isConnected) return clearInterval(clock);
  if (asking || document.hidden || Date.now() < next) return;
  asking = true;
  next = Infinity;
  let now = null;
  try {
    const answer = await fetch('now');
    if (answer.ok) now = await answer.json();
    // Who had opened this page has logged out, perhaps in another tab, or somebody else has logged in: the server
    // answers nothing here any more but a page that is asked for anew.
    if (answer.status === 401 || (now && user && now.user !== user)) return location.reload();
  } catch {
    /* the server restarts: asked again soon */
  }
  asking = false;
  next = Math.min(next, Date.now() + (now?.busy || !now ? 2000 : 10000));
  if (!now) return;
  if (busy.lastChild.textContent !== now.line) busy.lastChild.textContent = now.line;
  busy.toggleAttribute('data-on', now.busy);
  busy.title = now.line;
};
const clock = setInterval(look, 500);
const lookAtOnce = () => {
  next = 0;
  look();
};
document.addEventListener('visibilitychange', lookAtOnce);
document.addEventListener('velatura:queue', lookAtOnce);
addEventListener('focus', lookAtOnce);
look();
if (user) {
  const out = document.createElement('form'),
    button = document.createElement('button');
  out.method = 'post'; // a link could be followed from another site's page
  out.action = 'logout';
  button.className = 'user';
  button.append(user);
  button.insertAdjacentHTML('beforeend', props.login.icon);
  button.setAttribute('aria-label', `${props.login.label}: ${user}`);
  out.append(button);
  element.querySelector('.theme').before(out);
  // Browsers keep a page as it was for their back button: what the next person there finds is asked for anew.
  out.addEventListener('submit', () => {
    root.hidden = true;
  });
  window.addEventListener('pageshow', event => {
    if (event.persisted) location.reload();
  });
}
// The first heading is what "skip to the content" and a screen reader go to.
const main = document.querySelector('main') || document.querySelector('.main');
if (main) main.id ||= 'content';
element.querySelector('.skip').addEventListener('click', event => {
  event.preventDefault();
  const first = [...document.querySelectorAll('h1')].find(one => one.offsetParent);
  if (first) {
    first.tabIndex = -1;
    first.focus();
    first.scrollIntoView({block: 'center'});
  }
});
