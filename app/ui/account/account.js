history.replaceState(null, '', location.href); // so that a reload does not send a form again
// The full address of an invitation, whose origin only the browser knows.
const link = document.querySelector('[data-link]');
if (link) {
  link.value = new URL(link.dataset.link, document.baseURI).href;
  const button = link.nextElementSibling;
  button.addEventListener('click', async () => {
    try {
      await copy(link.value);
      button.textContent = button.dataset.copied;
    } catch {
      link.select(); // for copying by hand
    }
  });
}
const languages = document.querySelector('#language'),
  themes = document.querySelector('#theme');
languages.addEventListener('change', () => speak(languages.value));
try {
  themes.value = localStorage.getItem('velatura-theme') ?? '';
} catch {
  /* private windows have no storage */
}
themes.addEventListener('change', () => {
  const system = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  useTheme(themes.value || system, themes.value);
});
new MutationObserver(() => themes.value && (themes.value = root.dataset.theme)).observe(root, {
  attributeFilter: ['data-theme'],
});
