// Looks again every so many seconds, while something in the part says so (`data-again`) and somebody looks at it.
let lookedAt = performance.now();
setInterval(() => {
  const wait = element.querySelector('[data-again]')?.dataset.again;
  if (!wait || document.hidden || !element.getClientRects().length || performance.now() - lookedAt < 1000 * wait) return;
  lookedAt = performance.now();
  trigger('ticked', {});
}, 500);
