// Looks again every so many seconds, while something in the part says so: `data-again` while somebody looks at it, and
// `data-unseen` while nobody does, so that the server knows that the page is still there.
let lookedAt = performance.now();
setInterval(() => {
  const now = performance.now(),
    unseen = document.hidden || !element.getClientRects().length,
    said = element.querySelector('[data-again]')?.dataset,
    wait = unseen ? said?.unseen : said?.again;
  if (!wait || now - lookedAt < 1000 * wait) return;
  lookedAt = now;
  trigger('ticked', {unseen});
}, 500);
