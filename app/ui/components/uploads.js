// Uploads files one at a time with visible progress.
const {words} = props,
  PATIENCE = 120000,
  LOOK_EVERY = 5000;
const say = element.querySelector('.said'),
  bar = element.querySelector('.bar'),
  part = element.querySelector('.part');
const stop = element.querySelector('.stop');
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
let count = 0,
  answered = () => {},
  stopped = false,
  sending = null;
watch('value', () => answered(props.value?.ack));
const look = (event, files, more = {}) =>
  new Promise((done, lost) => {
    // resolves after the server has imported the files
    const mine = ++count,
      ends = setTimeout(lost, PATIENCE);
    let missed = 0; // consecutive answers: one may be late on a busy machine
    const watching = setInterval(async () => {
      missed = (await reachable()) ? 0 : missed + 1;
      if (missed === 2) {
        clearInterval(watching);
        lost();
      }
    }, LOOK_EVERY);
    answered = heard => {
      if (heard === mine) {
        clearTimeout(ends);
        clearInterval(watching);
        done();
      }
    };
    trigger(event, {files, count: mine, ...more});
  });
const tell = (text, done = null, sent = null) => {
  // screen readers skip the percentage, which changes all the time
  say.textContent = text;
  part.textContent = sent === null ? '' : `${Math.floor(100 * sent)} %`;
  bar.hidden = stop.hidden = done === null;
  if (done !== null) {
    bar.setAttribute('aria-valuenow', Math.round(100 * done));
    bar.firstElementChild.style.width = `${100 * done}%`;
  }
};
const why = answer =>
  (answer.getResponseHeader('content-type') || '').startsWith('text/plain') ? answer.responseText : '';
const send = (file, progress) =>
  new Promise((done, failed) => {
    // resolves to the file's path on the server
    const form = new FormData();
    form.append('files', file);
    sending = new XMLHttpRequest();
    sending.upload.addEventListener('progress', event => {
      if (event.total) progress(event.loaded / event.total);
    });
    sending.addEventListener('loadend', () => {
      try {
        done(JSON.parse(sending.status === 200 ? sending.responseText : '')[0]);
      } catch {
        failed(new Error(why(sending)));
      }
    });
    sending.open('POST', 'gradio_api/upload');
    sending.send(form);
  });
stop.addEventListener('click', () => {
  stopped = true;
  sending?.abort();
});
