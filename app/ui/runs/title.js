// A run's page is called by how far it is, and says to its other parts whether anything more is to come.
const name = () => {
  const title = element.querySelector('[data-title]');
  if (!title?.matches('.title')) return;
  document.title = `${title.dataset.title} · Velatura`;
  document.body.toggleAttribute('data-ended', 'ended' in title.dataset);
};
watch('value', () => setTimeout(name));
setTimeout(name);
