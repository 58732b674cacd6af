// The chosen theme, before the first paint; Gradio's own class on the body is kept equal to it by the shell's script.
(() => {
  const root = document.documentElement;
  let theme = null;
  try {
    theme = localStorage.getItem('velatura-theme');
  } catch {
    /* a private window remembers nothing */
  }
  root.dataset.theme = theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
})();
