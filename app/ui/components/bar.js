// The bar's theme and language, on pages and on documents without Gradio.
const root = document.documentElement;
const useTheme = (theme, kept = theme) => {
  root.dataset.theme = theme;
  try {
    localStorage.setItem('velatura-theme', kept);
  } catch {
    /* private windows have no storage */
  }
};
element.querySelector('.theme').onclick = () => useTheme(root.dataset.theme === 'dark' ? 'light' : 'dark');
// The server answers in this cookie's language; typed text survives as in any reload.
const language = element.querySelector('.language select');
const speak = code => {
  const home = new URL('.', document.baseURI).pathname;
  document.cookie = `${language.dataset.cookie}=${code}; path=${home}; max-age=31536000; samesite=lax`;
  location.reload();
};
language.onchange = () => speak(language.value);
// The target of "skip to content", and the first element read by screen readers.
const main = document.querySelector('main, .main');
if (main) main.id ||= 'content';
element.querySelector('.skip').onclick = event => {
  event.preventDefault();
  const first = [...document.querySelectorAll('h1')].find(one => one.offsetParent);
  if (first) {
    first.tabIndex = -1;
    first.focus();
    first.scrollIntoView({block: 'center'});
  }
};
