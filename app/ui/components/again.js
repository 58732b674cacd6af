// Looks again every so many seconds, while something in the part says so (`data-again`) and somebody looks at it.
let lookedAt = performance.now();
setInterval(() => {
  const now = performance.now();
  const wait = element.querySelector('[data-again]')?.dataset.again;
  if (!wait || document.hidden || !element.getClientRects().length || now - lookedAt < 1000 * wait) return;
  lookedAt = now;
  trigger('ticked', {});
}, 500);
