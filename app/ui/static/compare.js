// Before and after under one slider. What somebody has chosen is not replaced when a newer sample arrives.
const section = element.querySelector('section'), before = element.querySelector('.before'), after = element.querySelector('.after');
const hint = element.querySelector('.hint'), range = element.querySelector('input');
let chosen = false;
const show = (from, to, words) => {
  section.hidden = false;
  if (before.getAttribute('src') !== from) before.src = from;
  if (after.getAttribute('src') !== to) after.src = to;
  hint.textContent = words;
};
const slide = () => element.style.setProperty('--cut', `${range.value}%`);
range.addEventListener('input', slide);
slide();
document.addEventListener('velatura:sample', event => {
  if (!element.isConnected) return;
  chosen = true;
  show(event.detail.before, event.detail.whole, event.detail.words);
});
const draw = () => {
  if (chosen || !props.value) return;
  const pair = JSON.parse(props.value);
  show(pair.before, pair.after, pair.title);
};
watch('value', draw);
draw();
