// Accepts files dropped anywhere on the page, where the browser would otherwise open them.
const carries = event => [...(event.dataTransfer?.types || [])].includes('Files');
const whenDropped = (shown, over, take) => {
  document.addEventListener('dragover', event => {
    if (shown() && carries(event)) {
      event.preventDefault();
      over(true);
    }
  });
  document.addEventListener('dragleave', event => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener('drop', event => {
    if (!shown() || !carries(event)) return;
    event.preventDefault();
    over(false);
    take(event.dataTransfer);
  });
};
