history.replaceState(null, '', location.href); // so that a reload does not send a form again
// A token, or the full address of an invitation, whose origin only the browser knows.
const secret = document.querySelector('[data-link]');
if (secret) {
  secret.value ||= new URL(secret.dataset.link, document.baseURI).href;
  const button = secret.nextElementSibling;
  button.addEventListener('click', async () => {
    try {
      await copy(secret.value);
      button.textContent = button.dataset.copied;
    } catch {
      secret.select(); // for copying by hand
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
