// Applies the chosen theme before the first paint; the shell's script keeps Gradio's class on the body equal to it.
(() => {
  const root = document.documentElement;
  let theme = null;
  try {
    theme = localStorage.getItem('velatura-theme');
  } catch {
    /* private windows have no storage */
  }
  root.dataset.theme = theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
})();
