// One picture over the whole page. `after(item, down, right)` returns the next item in a direction, `shown` is called
// for each, `source` returns an item's address, `named` its file name, `file` another file to download, `more` adds
// actions, and `back` receives the focus at the end. Returns a function that opens it at an item, by default a button
// with `data-whole`.
const makeLight = ({
  titled,
  after,
  shown = () => {},
  source = item => item.dataset.whole,
  named = titled,
  file = null,
  more = null,
  back = item => item?.focus({preventScroll: true}),
}) => {
  const light = document.createElement('dialog'),
    {words} = props;
  light.className = 'light';
  const make = (label, sign, move) => {
    const button = Object.assign(document.createElement('button'), {type: 'button', textContent: sign, onclick: move});
    button.setAttribute('aria-label', label);
    return button;
  };
  const picture = document.createElement('img'),
    holder = document.createElement('div'),
    said = document.createElement('p');
  said.setAttribute('aria-live', 'polite');
  holder.className = 'holder';
  holder.append(picture);
  let current = null;
  const tools = document.createElement('div');
  tools.className = 'tools';
  const save = Object.assign(document.createElement('button'), {type: 'button', textContent: words.download}),
    size = Object.assign(document.createElement('button'), {type: 'button'});
  const scale = actual => {
    light.classList.toggle('actual', actual);
    size.textContent = actual ? words.fit : words.actual;
    picture.style.width = actual ? `${picture.naturalWidth / devicePixelRatio}px` : '';
  };
  size.addEventListener('click', () => scale(!light.classList.contains('actual')));
  picture.addEventListener('dblclick', () => size.isConnected && scale(!light.classList.contains('actual')));
  // A direct link keeps the server's file name; a file fetched by a script gets ours.
  save.addEventListener('click', async () => {
    const link = document.createElement('a');
    if (file) {
      const {href, name} = file(current);
      return Object.assign(link, {href, download: name}).click();
    }
    link.download = `${named(current)
      .replace(/[\\/:*?"<>|\s]+/g, ' ')
      .trim()
      .slice(0, 150)}.webp`;
    link.href = URL.createObjectURL(await (await fetch(source(current))).blob());
    link.click();
    URL.revokeObjectURL(link.href);
  });
  const extra = Object.assign(document.createElement('button'), {type: 'button'});
  if (more) extra.textContent = more.label;
  extra.addEventListener('click', () => {
    light.close();
    more.act(current);
  });
  if (words.download) tools.append(...(more ? [extra] : []), size, save);
  const show = item => {
    current = item;
    picture.src = source(item);
    picture.alt = said.textContent = light.ariaLabel = titled(item);
    scale(false);
    extra.hidden = !more?.offered(item);
    shown(item);
  };
  const step = (down, right) => {
    const next = after(current, down, right);
    if (next) show(next);
  };
  const close = make(words.close, '×', () => light.close());
  close.className = 'close';
  light.append(
    make(words.earlier, '‹', () => step(0, -1)),
    holder,
    make(words.later, '›', () => step(0, 1)),
    said,
    tools,
    close,
  );
  element.append(light);
  light.addEventListener('click', event => {
    if (event.target === light || event.target === holder) light.close();
  });
  light.addEventListener('keydown', event => {
    const moves = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};
    if (moves[event.key]) {
      event.preventDefault();
      step(...moves[event.key]);
    }
  });
  light.addEventListener('close', () => back(current));
  return item => {
    show(item);
    light.showModal();
  };
};
