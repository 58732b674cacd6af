// One picture over the whole page. `after(button, down, right)` says which comes next in that direction, `shown` hears
// of each; what comes back opens it at a button with `data-whole`.
const makeLight = ({titled, after, shown = () => {}}) => {
  const light = document.createElement('dialog');
  light.className = 'light';
  const make = (label, sign, move) => {
    const button = Object.assign(document.createElement('button'), {type: 'button', textContent: sign, onclick: move});
    button.setAttribute('aria-label', label);
    return button;
  };
  const picture = document.createElement('img'),
    words = document.createElement('p');
  words.setAttribute('aria-live', 'polite');
  let current = null;
  const show = button => {
    current = button;
    picture.src = button.dataset.whole;
    picture.alt = words.textContent = light.ariaLabel = titled(button);
    shown(button);
  };
  const step = (down, right) => {
    const next = after(current, down, right);
    if (next) show(next);
  };
  const close = make(props.words.close, '×', () => light.close());
  close.className = 'close';
  light.append(
    make(props.words.earlier, '‹', () => step(0, -1)),
    picture,
    make(props.words.later, '›', () => step(0, 1)),
    words,
    close,
  );
  element.append(light);
  light.addEventListener('click', event => {
    if (event.target === light) light.close();
  });
  light.addEventListener('keydown', event => {
    const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    if (moves[event.key]) {
      event.preventDefault();
      step(...moves[event.key]);
    }
  });
  light.addEventListener('close', () => current?.focus({preventScroll: true}));
  return button => {
    show(button);
    light.showModal();
  };
};
