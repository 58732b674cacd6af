// The grid on the page; new pictures get its zoom.
const showGrid = linkGrid(element);
watch('value', () => setTimeout(showGrid));
setTimeout(showGrid);
