// The editor: one picture over the whole window with its caption, hints, rotation, crop and mask. Every change is saved
// at once; Undo reverts them one by one.
const {element, trigger, words, rows, place, fill, says, settle, framed, seen, reach, everything} = shared,
  {isDeleted, remove, perform, send, shown, nextCount} = shared;
const bench = element.querySelector('.bench'),
  sheet = bench.querySelector('.canvas-frame'),
  stage = bench.querySelector('.picture-area'),
  large = sheet.querySelector('img'),
  benchCaption = bench.querySelector('textarea'),
  keptLine = bench.querySelector('.kept'),
  undoButton = bench.querySelector('.undo');
const SEND_AGAIN = 6000;
let at = null, // the current picture
  tool = 'look',
  past = [], // undo functions, of this picture or of one deleted here
  returning = ''; // a deleted picture that Undo restores
const sharp = new Map(); // addresses of large copies, by picture
const unsaved = new Map(); // crops and masks being sent, by kind and picture
const showKept = said => {
  keptLine.textContent = said;
};
const settleRegions = ack => {
  for (const [key, one] of unsaved) {
    if (rows.has(one.id) && one.count !== ack) continue;
    unsaved.delete(key);
    if (one.next && rows.has(one.id)) begin(key, one.id, one.next);
  }
  const busy = saving || making || [...unsaved.values()].some(one => one.id === at);
  if (!busy && keptLine.textContent === words.saving) showKept(words.saved);
};
// Sends until the server has acknowledged. Only the newest of further changes is sent, so that they arrive in order
// however fast a key repeats.
const keepSending = (id, kind, send) => {
  const key = `${kind}:${id}`,
    going = unsaved.get(key);
  showKept(words.saving);
  if (going) going.next = send;
  else begin(key, id, send);
};
const begin = (key, id, send) => {
  const mine = {id, count: nextCount(), next: null};
  unsaved.set(key, mine);
  const attempt = async () => {
    if (unsaved.get(key) !== mine) return;
    setTimeout(() => {
      if (unsaved.get(key) !== mine) return;
      showKept(words.not_saved);
      attempt();
    }, SEND_AGAIN);
    await send(mine.count).catch(() => {});
  };
  attempt();
};
const remember = (undo, stays = false) => {
  past.push(Object.assign(undo, {stays}));
  undoButton.disabled = false;
};
// Width and height after a rotation; the row's are those after its own, which may not be the newest.
const sizeAt = turned => {
  const {width, height, rotation: known} = rows.get(at);
  return (turned - known) % 180 ? [height, width] : [width, height];
};
const fitSheet = () => {
  if (!at || !bench.open) return;
  const [width, height] = sizeAt(rotation),
    scale = Math.min(stage.clientWidth / width, stage.clientHeight / height);
  sheet.dataset.turn = rotation;
  sheet.style.width = `${Math.floor(width * scale)}px`;
  sheet.style.height = `${Math.floor(height * scale)}px`;
};
const ask = id => {
  const index = shown().indexOf(id),
    near = [id, shown()[index + 1], shown()[index - 1]].filter(one => one && !sharp.has(one));
  if (near.length) trigger('picture_opened', {ids: near, seen: seen()});
};
const heard = found => {
  for (const [id, address] of Object.entries(found)) {
    sharp.set(id, address);
    new Image().src = address;
    if (id === at) large.src = address;
  }
};
const choose = wanted => {
  tool = wanted;
  bench.dataset.tool = tool;
  for (const button of bench.querySelectorAll('[data-tool]'))
    button.setAttribute('aria-pressed', button.dataset.tool === tool);
  for (const part of bench.querySelectorAll('.tool')) part.hidden = !part.dataset.of.split(' ').includes(tool);
};
const paintBench = id => {
  if (id !== at || !bench.open) return;
  const row = rows.get(id),
    number = shown().indexOf(id) + 1;
  bench.querySelector('h2').textContent = fill(words.counter, {number: number || row.number, all: shown().length});
  bench.querySelector('.file').textContent = row.name;
  large.alt = says('picture', row);
  settle(benchCaption, id);
  const hints = row.notes.map(note => note[1]);
  const list = bench.querySelector('.hints');
  if (list.dataset.said !== hints.join('\n')) {
    list.dataset.said = hints.join('\n');
    list.replaceChildren(...hints.map(hint => Object.assign(document.createElement('li'), {textContent: hint})));
  }
  showCrop();
  loadMask();
};
const show = id => {
  leaveMask();
  at = id;
  past = past.filter(undo => undo.stays);
  undoButton.disabled = !past.length;
  showKept('');
  benchCaption.dataset.of = id;
  benchCaption.id = 'bench-caption';
  large.src = sharp.get(id) || `${place.previews}/${id}.webp`;
  ({crop, rotation} = rows.get(id));
  matchAspect();
  maskShown = null;
  fitSheet();
  paintBench(id);
  ask(id);
};
const openBench = id => {
  past = [];
  choose('look');
  if (!bench.open) bench.showModal();
  show(id);
  bench.querySelector('.later').focus();
};
const walk = by => {
  const next = shown()[shown().indexOf(at) + by];
  if (next) show(next);
};
const closeBench = () => bench.close();
bench.addEventListener('close', () => {
  leaveMask();
  send();
  const id = at;
  at = null;
  if (rows.has(id)) reach(id, '.open');
  else everything.focus();
});
bench.querySelector('.earlier').addEventListener('click', () => walk(-1));
bench.querySelector('.later').addEventListener('click', () => walk(1));
bench.querySelector('[data-close]').addEventListener('click', closeBench);
bench.addEventListener('keydown', event => {
  if (event.key === 'z' && (event.ctrlKey || event.metaKey) && event.target !== benchCaption) {
    event.preventDefault();
    undoButton.click();
  }
  if (event.target.matches('textarea, input, .crop, .grip, canvas')) return;
  const by = {ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1}[event.key];
  if (by) {
    event.preventDefault();
    walk(by);
  }
});
for (const button of bench.querySelectorAll('[data-tool]'))
  button.addEventListener('click', () => choose(button.dataset.tool));
undoButton.addEventListener('click', () => {
  past.pop()?.();
  if (undoButton.disabled) return;
  undoButton.disabled = !past.length;
  if (undoButton.disabled) bench.querySelector(`[data-tool=${tool}]`).focus();
});
bench.querySelector('.delete').addEventListener('click', event => {
  if (event.detail > 1) return; // the second click of a double click would delete the next picture
  const id = at,
    next = shown()[shown().indexOf(id) + 1] ?? shown()[shown().indexOf(id) - 1];
  if (next) show(next);
  else {
    at = null;
    bench.close();
  }
  remove([id]);
  remember(() => {
    returning = id;
    showKept(words.saving);
    perform('pictures_changed', {what: 'restore', ids: [id], text: ''});
  }, true);
});
const showReturned = () => {
  if (!returning || !rows.has(returning) || isDeleted(returning)) return;
  const id = returning;
  returning = '';
  if (bench.open) show(id);
};
// The rows have changed, as the answer to `ack` or to something else.
const follow = ack => {
  if (at && !rows.has(at)) {
    at = null;
    bench.close();
  } else if (at) paintBench(at);
  showReturned();
  settleRegions(ack);
};
new ResizeObserver(fitSheet).observe(stage);

// ---------------------------------------------------------------- the rotation and the crop frame
const cropBox = sheet.querySelector('.crop'),
  ALL = [0, 0, 1, 1];
let crop = null,
  rotation = 0, // degrees clockwise, before the crop
  aspect = ''; // the ratio that the frame keeps, or "own" for the picture's
const between = (value, low, high) => Math.min(Math.max(value, low), high);
const showCrop = () => {
  if (!unsaved.has(`crop:${at}`) && !cropBox.dataset.held) ({crop, rotation} = rows.get(at));
  if (sheet.dataset.turn !== `${rotation}`) fitSheet();
  const [left, top, width, height] = crop || ALL,
    [across, down] = sizeAt(rotation),
    row = rows.get(at);
  for (const part of [cropBox, sheet.querySelector('.shade i')])
    Object.assign(part.style, {
      left: `${100 * left}%`,
      top: `${100 * top}%`,
      width: `${100 * width}%`,
      height: `${100 * height}%`,
    });
  const moving = unsaved.has(`crop:${at}`) || cropBox.dataset.held,
    part = moving || same(row.frame, crop || ALL) ? null : row.frame;
  framed(sheet.querySelector('.used'), part);
  bench.querySelector('.used-said').hidden = !part;
  cropBox.classList.toggle('whole', !crop);
  bench.querySelector('.part').textContent = fill(crop ? words.cropped : words.pixels, {
    width: Math.round(width * across),
    height: Math.round(height * down),
    all_width: across,
    all_height: down,
  });
  bench.querySelector('.whole').disabled = !crop;
};
const same = (one, other) =>
  (!one && !other) || Boolean(one && other && one.every((value, k) => Math.abs(value - other[k]) < 1e-4));
const setCrop = (id, wanted, from, turned = rotation) => {
  const before = rotation;
  if (same(wanted, from) && turned === before) return showCrop();
  const put = (box, degrees) => {
    [crop, rotation] = [box, degrees];
    const region = {id, crop: box, rotation: degrees};
    keepSending(id, 'crop', async count => trigger('picture_cropped', {...region, seen: seen(), count}));
    showCrop();
  };
  remember(() => {
    put(from, before);
    matchAspect();
  });
  put(wanted, turned);
};
const tidy = ([left, top, width, height]) => {
  const found = [left, top, width, height].map(value => Math.round(value * 1e6) / 1e6);
  return same(found, ALL) ? null : found;
};
// Moves the edges of a grip, or the whole frame, by fractions of the picture.
const leastOf = () => sizeAt(rotation).map(size => Math.min(1, Math.max(0.02, 16 / size)));
const moved = ([left, top, width, height], grip, dx, dy) => {
  const least = leastOf();
  let [right, bottom] = [left + width, top + height];
  if (!grip) {
    left = between(left + dx, 0, 1 - width);
    top = between(top + dy, 0, 1 - height);
    return [left, top, width, height];
  }
  if (grip.includes('w')) left = between(left + dx, 0, right - least[0]);
  if (grip.includes('e')) right = between(right + dx, left + least[0], 1);
  if (grip.includes('n')) top = between(top + dy, 0, bottom - least[1]);
  if (grip.includes('s')) bottom = between(bottom + dy, top + least[1], 1);
  const frame = [left, top, right - left, bottom - top];
  return aspect ? inAspect(frame, grip) : frame;
};
// A frame's fraction of the width for one of the height.
const shareOf = ratio => {
  const [width, height] = sizeAt(rotation),
    [across, down] = ratio === 'own' ? [width, height] : ratio.split(':');
  return (across * height) / (down * width);
};
// One side of a frame: the point that stays when a grip moves, the room from there, and how much lies before it.
const pinned = (start, size, before, after) => {
  const middle = start + size / 2;
  if (before) return [start + size, start + size, 1];
  return after ? [start, 1 - start, 0] : [middle, 2 * Math.min(middle, 1 - middle), 0.5];
};
const inAspect = ([left, top, width, height], grip) => {
  const share = shareOf(aspect),
    [x, across, beforeX] = pinned(left, width, grip.includes('w'), grip.includes('e')),
    [y, down, beforeY] = pinned(top, height, grip.includes('n'), grip.includes('s')),
    wanted = grip.length > 1 ? (width + height * share) / 2 : 'we'.includes(grip) ? width : height * share,
    wide = Math.min(wanted, across, down * share),
    high = wide / share;
  return [x - beforeX * wide, y - beforeY * high, wide, high];
};
// The frame as it is when a ratio is chosen: around the same middle, as large as before, or as can be if it was that.
const refitted = ([left, top, width, height]) => {
  const share = shareOf(aspect),
    area = Math.max(width, height) > 0.999 ? 1 : width * height,
    high = Math.min(1, 1 / share, Math.sqrt(area / share)),
    wide = high * share;
  return [between(left + (width - wide) / 2, 0, 1 - wide), between(top + (height - high) / 2, 0, 1 - high), wide, high];
};
const aspects = [...bench.querySelectorAll('[data-aspect]')];
const holdAspect = wanted => {
  aspect = wanted;
  for (const button of aspects) button.setAttribute('aria-pressed', button.dataset.aspect === aspect);
};
// A frame that has one of the ratios keeps it.
const matchAspect = () => {
  const has = ({dataset: {aspect: ratio}}) => ratio && Math.abs(crop[2] / crop[3] / shareOf(ratio) - 1) < 0.005;
  holdAspect((crop && aspects.find(has)?.dataset.aspect) || '');
};
for (const button of aspects)
  button.addEventListener('click', () => {
    holdAspect(button.dataset.aspect);
    if (aspect) setCrop(at, tidy(refitted(crop || ALL)), crop);
  });
for (const button of bench.querySelectorAll('[data-rotate]'))
  button.addEventListener('click', () => {
    const [left, top, width, height] = crop || ALL,
      by = +button.dataset.rotate,
      box = by > 0 ? [1 - top - height, left, height, width] : [top, 1 - left - width, height, width];
    if (aspect.includes(':')) holdAspect(aspect.split(':').reverse().join(':'));
    setCrop(at, tidy(box), crop, (rotation + by + 360) % 360);
  });
// The frame between two points, no smaller than grips allow; null if the pointer hardly moved.
const spanned = (x, y, dx, dy) => {
  const least = leastOf(),
    room = (from, by, size) => (by < 0 ? Math.max(from, size) : Math.min(from, 1 - size));
  if (Math.abs(dx) < least[0] && Math.abs(dy) < least[1]) return null;
  const corner = [room(x, dx, least[0]), room(y, dy, least[1])];
  return moved([...corner, 0, 0], `${dy < 0 ? 'n' : 's'}${dx < 0 ? 'w' : 'e'}`, dx, dy);
};
cropBox.addEventListener('pointerdown', event => {
  if (tool !== 'crop' || event.button) return;
  event.preventDefault();
  event.target.focus();
  const id = at,
    grip = event.target.dataset.grip,
    before = crop,
    {clientX, clientY} = event,
    box = sheet.getBoundingClientRect(),
    from = [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  cropBox.setPointerCapture(event.pointerId);
  cropBox.dataset.held = '1';
  const follow = move => {
    const by = [(move.clientX - clientX) / box.width, (move.clientY - clientY) / box.height];
    // A frame around the whole picture cannot be moved: dragging draws a new one.
    const drawn = before || grip ? moved(before || ALL, grip, ...by) : spanned(...from, ...by);
    crop = drawn && tidy(drawn);
    showCrop();
  };
  const end = () => {
    cropBox.removeEventListener('pointermove', follow);
    delete cropBox.dataset.held;
    if (id === at) setCrop(id, crop, before);
  };
  cropBox.addEventListener('pointermove', follow);
  cropBox.addEventListener('lostpointercapture', end, {once: true});
});
cropBox.addEventListener('keydown', event => {
  const step = event.shiftKey ? 0.1 : 0.01,
    [dx, dy] = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key] || [];
  if (dx === undefined) return;
  event.preventDefault();
  setCrop(at, tidy(moved(crop || ALL, event.target.dataset.grip, dx * step, dy * step)), crop);
});
bench.querySelector('.whole').addEventListener('click', () => {
  holdAspect('');
  setCrop(at, null, crop);
  bench.querySelector('[data-tool=crop]').focus();
});
