// One zoom for all pictures of a grid, and arrow keys between its cells. The file that people save has it, too, so it
// uses nothing else.
const MOST_ZOOM = 16;
const linkGrid = root => {
  let zoom = 1,
    left = 0, // the corner of the picture at the corner of each pane, in parts of the picture
    top = 0;
  const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
  const show = () => {
    left = clamp(left, 0, 1 - 1 / zoom);
    top = clamp(top, 0, 1 - 1 / zoom);
    const linked = root.querySelector('.linked');
    if (!linked) return;
    linked.style.setProperty('--zoom', zoom);
    linked.style.setProperty('--left', `${-100 * left * zoom}%`);
    linked.style.setProperty('--top', `${-100 * top * zoom}%`);
    linked.toggleAttribute('data-zoomed', zoom > 1);
    linked.querySelector('output').textContent = `${Math.round(100 * zoom)}%`;
    if (zoom > 1) for (const image of linked.querySelectorAll('img[data-whole]')) image.src = image.dataset.whole;
  };
  const zoomTo = (wanted, x = 0.5, y = 0.5) => {
    const fresh = clamp(wanted, 1, MOST_ZOOM);
    left += x / zoom - x / fresh;
    top += y / zoom - y / fresh;
    zoom = fresh;
    show();
  };
  const move = (right, down) => {
    left += right / zoom;
    top += down / zoom;
    show();
  };
  const placeIn = (pane, {clientX, clientY}) => {
    const box = pane.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  };
  const paneOf = ({target}) => target.closest?.('.pane');

  root.addEventListener('click', event => {
    const button = event.target.closest('[data-zoom]');
    if (button) zoomTo(zoom * button.dataset.zoom);
  });
  root.addEventListener(
    'wheel',
    event => {
      const pane = paneOf(event);
      if (!pane || !(event.ctrlKey || event.metaKey)) return; // the wheel alone scrolls the page
      event.preventDefault();
      zoomTo(zoom * Math.exp(-event.deltaY / 250), ...placeIn(pane, event));
    },
    {passive: false},
  );
  // Dragging by mouse or finger, and pinching with two fingers.
  let held = null;
  const hold = (pane, points) => {
    const places = [...points].map(point => placeIn(pane, point)),
      middle = [0, 1].map(axis => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    const [one, other = one] = places;
    return {pane, middle, apart: Math.hypot(one[0] - other[0], one[1] - other[1])};
  };
  const drag = points => {
    const now = hold(held.pane, points);
    move(held.middle[0] - now.middle[0], held.middle[1] - now.middle[1]);
    if (now.apart && held.apart) zoomTo((zoom * now.apart) / held.apart, ...now.middle);
    held = now;
  };
  root.addEventListener('mousedown', event => (held = paneOf(event) ? hold(paneOf(event), [event]) : null));
  document.addEventListener('mousemove', event => held && event.buttons && drag([event]));
  document.addEventListener('mouseup', () => (held = null));
  for (const kind of ['touchstart', 'touchend'])
    root.addEventListener(kind, event => {
      held = event.touches.length && paneOf(event) ? hold(paneOf(event), event.touches) : null;
    });
  root.addEventListener(
    'touchmove',
    event => {
      if (!held || (event.touches.length < 2 && zoom === 1)) return;
      event.preventDefault();
      drag(event.touches);
    },
    {passive: false},
  );

  const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  const ZOOMS = {'+': 1.5, '=': 1.5, '-': 1 / 1.5, 0: 0};
  const go = (cell, right, down) => {
    const rows = [...root.querySelectorAll('tbody tr:has(td)')].map(row => [...row.querySelectorAll('td')]),
      row = rows.findIndex(cells => cells.includes(cell)),
      next = rows[row + down]?.[rows[row].indexOf(cell) + right];
    if (!next) return;
    for (const other of root.querySelectorAll('td[tabindex="0"]')) other.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  root.addEventListener('keydown', event => {
    const cell = event.target.closest('td');
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const [right, down] = ARROWS[event.key] ?? [];
    if (right !== undefined) event.shiftKey ? move(right / 8, down / 8) : go(cell, right, down);
    else if (event.key in ZOOMS) zoomTo(zoom * ZOOMS[event.key]);
    else return;
    event.preventDefault();
  });
  show();
  return show;
};
