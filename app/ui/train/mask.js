// The mask brush. The canvas has the masked area as opacity; the uploaded file is white where it is transparent.
const canvas = sheet.querySelector('canvas'),
  pen = canvas.getContext('2d', {willReadFrequently: true}),
  ring = sheet.querySelector('.ring'),
  brush = bench.querySelector('.brush'),
  MASK_SIDE = 768,
  SETTLES = 500;
let maskShown = null, // the key of the mask on the canvas; null without one
  ignoring = true,
  saving = 0, // timer of the last stroke
  making = 0, // number of files being created
  spot = [0.5, 0.5];
const blank = () => {
  const [width, height] = sizeAt(0),
    scale = Math.min(1, MASK_SIDE / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
};
const opacities = () => {
  const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
  return Uint8Array.from({length: data.length / 4}, (_, k) => data[4 * k + 3]);
};
const putOpacities = values => {
  const image = pen.createImageData(canvas.width, canvas.height);
  values.forEach((value, k) => {
    image.data[4 * k + 3] = value;
  });
  pen.putImageData(image, 0, 0);
};
const loadMask = async () => {
  const id = at,
    key = rows.get(id).mask;
  if (key === maskShown || saving || making || unsaved.has(`mask:${id}`)) return;
  maskShown = key;
  blank();
  if (!key) return;
  const image = new Image();
  image.src = `${place.previews}/${id}-${key}.png`;
  try {
    await image.decode();
  } catch {
    return; // another tab has just changed it
  }
  if (id !== at || key !== maskShown) return;
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  const {data} = pen.getImageData(0, 0, canvas.width, canvas.height);
  putOpacities(Uint8Array.from({length: data.length / 4}, (_, k) => 255 - data[4 * k]));
};
// The file: white is trained, black is masked. Without a black pixel there is no mask.
const maskFile = () =>
  new Promise(done => {
    if (opacities().every(value => value === 0)) return done(null);
    const file = document.createElement('canvas');
    file.width = canvas.width;
    file.height = canvas.height;
    const ink = file.getContext('2d');
    ink.fillStyle = '#fff';
    ink.fillRect(0, 0, file.width, file.height);
    ink.drawImage(canvas, 0, 0);
    file.toBlob(done, 'image/png');
  });
const post = async blob => {
  const form = new FormData();
  form.append('files', blob, 'mask.png');
  const answer = await fetch('gradio_api/upload', {method: 'POST', body: form});
  if (!answer.ok) throw new Error();
  return (await answer.json())[0];
};
const saveMask = async () => {
  clearTimeout(saving);
  saving = 0;
  const id = at;
  making++;
  const blob = await maskFile();
  making--;
  keepSending(id, 'mask', async count => {
    const path = blob ? await post(blob) : '';
    trigger('mask_painted', {id, path, seen: seen(), count});
  });
};
const saveSoon = () => {
  clearTimeout(saving);
  showKept(words.saving);
  saving = setTimeout(saveMask, SETTLES);
};
const leaveMask = () => {
  if (saving) saveMask();
};
const changing = change => {
  const id = at,
    was = opacities();
  change();
  remember(() => {
    if (id !== at) return;
    putOpacities(was);
    saveSoon();
  });
  saveSoon();
};
const radius = () => (Math.max(canvas.width, canvas.height) * brush.value) / 200;
const stroke = (from, to) => {
  pen.globalCompositeOperation = ignoring ? 'source-over' : 'destination-out';
  pen.lineCap = 'round';
  pen.lineWidth = 2 * radius();
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(to[0] + 0.01, to[1]);
  pen.stroke();
};
// A direction on the screen, as one in the picture before it is turned.
const unturned = ([x, y]) => ({90: [y, -x], 180: [-x, -y], 270: [-y, x]})[rotation] || [x, y];
const spotOf = event => {
  const box = canvas.getBoundingClientRect(),
    from = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return unturned(from.map(share => share - 0.5)).map(share => share + 0.5);
};
const inPixels = ([x, y]) => [x * canvas.width, y * canvas.height];
const showRing = () => {
  const size = (100 * 2 * radius()) / canvas.width;
  ring.hidden = tool !== 'mask';
  Object.assign(ring.style, {left: `${100 * spot[0]}%`, top: `${100 * spot[1]}%`, width: `${size}%`});
};
canvas.addEventListener('pointerdown', event => {
  if (tool !== 'mask' || event.button) return;
  event.preventDefault();
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  let last = inPixels(spotOf(event));
  changing(() => stroke(last, last));
  clearTimeout(saving); // while the brush is down
  const follow = move => {
    for (const one of move.getCoalescedEvents?.() || [move]) {
      const next = inPixels(spotOf(one));
      stroke(last, next);
      last = next;
    }
  };
  canvas.addEventListener('pointermove', follow);
  canvas.addEventListener(
    'lostpointercapture',
    () => {
      canvas.removeEventListener('pointermove', follow);
      saveSoon();
    },
    {once: true},
  );
});
canvas.addEventListener('pointermove', event => {
  spot = spotOf(event);
  showRing();
});
canvas.addEventListener('pointerleave', () => {
  ring.hidden = true;
});
canvas.addEventListener('focus', () => {
  if (canvas.matches(':focus-visible')) showRing();
});
canvas.addEventListener('blur', () => {
  ring.hidden = true;
});
const paintWith = ignore => {
  ignoring = ignore;
  for (const button of bench.querySelectorAll('[data-paint]'))
    button.setAttribute('aria-pressed', (button.dataset.paint === 'ignore') === ignoring);
};
canvas.addEventListener('keydown', event => {
  if (tool !== 'mask') return;
  const step = event.shiftKey ? 0.1 : 0.02,
    move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
  if (move) spot = spot.map((value, k) => Math.min(1, Math.max(0, value + unturned(move)[k] * step)));
  else if (event.key === ' ') changing(() => stroke(inPixels(spot), inPixels(spot)));
  else if (event.key === 'x' && !event.ctrlKey && !event.metaKey) paintWith(!ignoring);
  else return;
  event.preventDefault();
  showRing();
});
for (const button of bench.querySelectorAll('[data-paint]'))
  button.addEventListener('click', () => paintWith(button.dataset.paint === 'ignore'));
bench
  .querySelector('.invert')
  .addEventListener('click', () => changing(() => putOpacities(opacities().map(value => 255 - value))));
bench
  .querySelector('.clear')
  .addEventListener('click', () => changing(() => pen.clearRect(0, 0, canvas.width, canvas.height)));
return {open: openBench, paint: paintBench, follow, heard, settleRegions, showKept};
