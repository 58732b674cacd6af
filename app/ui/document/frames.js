// Gradio's sign of loading counts its seconds in every frame, and goes on when it has gone from the page: without this,
// each open page would take 5 % of a processor for good. Our pages show no such seconds.
(() => {
  const request = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = draw => (/performance\.now\(\) ?- ?/.test(draw) ? 0 : request(draw));
})();
