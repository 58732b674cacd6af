// The wall: only cards near the window are in the document, each in its place, so that thousands scroll as smoothly as
// ten.
const wall = element.querySelector('.wall'),
  list = element.querySelector('.cards'),
  pattern = element.querySelector('template.card').content.firstElementChild;
const WIDTHS = [150, 190, 240, 340, 500],
  BELOW = 112, // pixels of a card below its picture
  AHEAD = 1; // windows above and below in which cards are kept
const cards = new Map(); // in the document, by picture
let shown = [], // the pictures that pass the filter, in order
  columns = 1,
  side = 200,
  tall = 200,
  gap = 18,
  drawing = 0;
const slider = element.querySelector('input.size');
const remembered = name => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage may be forbidden
  }
};
const keepInMind = (name, value) => {
  try {
    localStorage.setItem(name, value);
  } catch {
    /* it is then not remembered */
  }
};
slider.value = remembered('velatura-tiles') ?? (innerWidth < 720 ? 0 : 2);
const pitch = () => tall + BELOW + gap;
const span = id => {
  const index = shown.indexOf(id);
  return index < 0 ? null : {index, top: Math.floor(index / columns) * pitch()};
};
const make = id => {
  const card = pattern.cloneNode(true);
  card.dataset.key = id;
  card.querySelector('textarea').id = `caption-${id}`;
  cards.set(id, card);
  return card;
};
const set = (node, name, value) => {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
};
const framed = (frame, box) => {
  frame.hidden = !box;
  if (box) {
    const [left, top, width, height] = box.map(share => 100 * share);
    frame.style.inset = `${top}% ${100 - left - width}% ${100 - top - height}% ${left}%`;
  }
};
const says = (name, row, more = {}) => fill(words[name], {...row, ...more});
const paintCard = (id, card) => {
  const row = rows.get(id),
    part = name => card.querySelector(name),
    image = part('img');
  set(card, 'aria-posinset', `${row.number}`);
  set(card, 'aria-setsize', `${order.length}`);
  set(image, 'src', `${place.previews}/${id}.webp`);
  set(image, 'alt', says('picture', row));
  part('.fit').style.width = `${100 * Math.min(1, row.width / row.height)}%`;
  part('.fit').style.height = `${100 * Math.min(1, row.height / row.width)}%`;
  set(part('.fit'), 'data-turn', `${row.rotation}`);
  framed(part('.frame'), row.frame);
  set(part('.open'), 'aria-label', says('open', row));
  set(part('.pick'), 'aria-label', says('pick', row));
  set(part('.drop'), 'aria-label', says('remove', row));
  const hints = row.notes.map(note => note[1]).join(' '),
    dot = part('.dot');
  dot.hidden = !hints;
  set(dot, 'aria-label', hints);
  set(dot, 'title', hints);
  card.classList.toggle('masked', Boolean(row.mask));
  card.classList.toggle('leaving', isDeleted(id));
  part('.file').textContent = row.name.split('/').pop();
  set(part('.file'), 'title', row.name);
  part('.rival').hidden = !row.rival;
  part('.rival p').textContent = row.rival ? fill(words.rival, {text: row.rival}) : '';
  const field = part('textarea');
  set(field, 'aria-label', says('caption', row));
  settle(field, id);
  card.classList.toggle('picked', picked.has(id));
  part('.pick').checked = picked.has(id);
};
const paint = id => {
  const card = cards.get(id);
  if (card && rows.has(id)) paintCard(id, card);
  editor?.paint(id);
};
const render = () => {
  drawing = 0;
  if (!list.clientWidth) return; // another step is visible
  const top = list.getBoundingClientRect().top,
    first = Math.floor((-top - innerHeight * AHEAD) / pitch()),
    last = Math.ceil((-top + innerHeight * (1 + AHEAD)) / pitch());
  const start = Math.max(0, first * columns),
    wanted = new Map(shown.slice(start, Math.max(0, last * columns)).map((id, k) => [id, start + k])); // with its place
  const held = document.activeElement?.closest?.('.cards > li')?.dataset.key;
  let places = [...wanted];
  if (held && !wanted.has(held) && shown.includes(held)) {
    wanted.set(held, shown.indexOf(held)); // it keeps the focus
    places = [...wanted].sort((a, b) => a[1] - b[1]);
  }
  for (const [id, card] of cards)
    if (!wanted.has(id)) {
      card.remove();
      cards.delete(id);
    }
  let here = list.firstElementChild;
  for (const [id, index] of places) {
    const known = cards.get(id),
      card = known || make(id);
    card.style.insetInlineStart = `${(index % columns) * (side + gap)}px`;
    card.style.top = `${Math.floor(index / columns) * pitch()}px`;
    if (!known) paintCard(id, card);
    if (card === here) here = here.nextElementSibling;
    else list.insertBefore(card, here);
  }
};
const layout = () => {
  const width = list.clientWidth;
  if (!width) return;
  gap = innerWidth < 720 ? 12 : 18;
  columns = Math.max(1, Math.floor((width + gap) / (WIDTHS[slider.value] + gap)));
  side = (width - gap * (columns - 1)) / columns;
  tall = Math.round(Math.min(side, 0.72 * innerHeight));
  list.style.setProperty('--side', `${side}px`);
  list.style.setProperty('--tall', `${tall}px`);
  list.style.height = `${Math.max(0, Math.ceil(shown.length / columns) * pitch() - gap)}px`;
  render();
};
const soon = () => {
  drawing ||= requestAnimationFrame(render);
};
addEventListener('scroll', soon, {passive: true});
addEventListener('resize', layout);
new ResizeObserver(layout).observe(list.parentElement);
slider.addEventListener('input', () => {
  const top = shown[Math.max(0, Math.floor(-list.getBoundingClientRect().top / pitch()) * columns)];
  keepInMind('velatura-tiles', slider.value);
  layout();
  if (list.getBoundingClientRect().top < 0) reach(top);
});
// Scrolls to a card and focuses a part of it.
const reach = (id, part = '') => {
  const at = span(id);
  if (!at) return;
  const start = list.getBoundingClientRect().top + at.top,
    room = 180;
  if (start < room) scrollBy(0, start - room);
  else if (start + tall + BELOW > innerHeight - 120)
    scrollBy(0, Math.min(start - room, start + tall + BELOW - innerHeight + 120));
  render();
  if (part) cards.get(id)?.querySelector(part).focus({preventScroll: true});
};
list.addEventListener('keydown', event => {
  // Enter goes to the next caption, as captions are one line
  if (event.key !== 'Enter' || event.isComposing || !event.target.matches('textarea')) return;
  event.preventDefault();
  const next = shown[shown.indexOf(idOf(event.target)) + (event.shiftKey ? -1 : 1)];
  if (next) reach(next, 'textarea');
});
const ASKED = {take: 'take', keep: 'keep'};
list.addEventListener('click', event => {
  const button = event.target.closest('[data-do], .drop');
  if (!button) return;
  const id = idOf(button),
    index = shown.indexOf(id),
    next = shown[index + 1] ?? shown[index - 1];
  if (button.dataset.do) return trigger('asked', {what: ASKED[button.dataset.do], about: id, seen: seen()});
  remove([id]);
  if (next) reach(next, '.open');
});
