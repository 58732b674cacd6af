// Puts a run's progress into the tab's title, and marks the page when the run has ended.
const name = () => {
  const title = element.querySelector('[data-title]');
  if (!title?.matches('.title')) return;
  document.title = `${title.dataset.title} · Velatura`;
  document.body.toggleAttribute('data-ended', 'ended' in title.dataset);
};
watch('value', () => setTimeout(name));
setTimeout(name);
