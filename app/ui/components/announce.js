// Training progress in the tab's title and, on request, a notification when a run ends.
const tell = element.querySelector('.tell'),
  TELL = 'velatura-tell';
let told = null,
  before = '';
const remembered = name => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // private windows have no storage
  }
};
const wantsTelling = () => remembered(TELL) === 'yes' && window.Notification?.permission === 'granted';
const showTell = () => {
  const on = wantsTelling();
  tell.setAttribute('aria-pressed', on);
  tell.title = tell.ariaLabel = on ? props.words.untell : props.words.tell;
};
tell.addEventListener('click', async () => {
  const wanted = !wantsTelling(),
    permission = wanted && window.Notification ? await Notification.requestPermission() : 'none';
  try {
    localStorage.setItem(TELL, wanted && permission === 'granted' ? 'yes' : 'no');
  } catch {
    /* the request is then not remembered */
  }
  showTell();
  if (wanted && permission !== 'granted') tell.title = tell.ariaLabel = props.words.refused;
});
const announce = now => {
  tell.hidden = !now.busy && !wantsTelling();
  const newest = now.ended.at(-1)?.number ?? 0;
  for (const {number, line} of now.ended) {
    if (told === null || number <= told || !wantsTelling()) continue;
    // The tag lets several open tabs show a single notification.
    const shown = new Notification(line, {tag: line, icon: document.querySelector('link[rel=icon]')?.href});
    shown.onclick = () => window.focus();
  }
  told = newest;
  const bare = before && document.title.startsWith(before) ? document.title.slice(before.length) : document.title;
  before = now.brief && !document.querySelector('.title[data-title]') ? `${now.brief} · ` : '';
  if (document.title !== before + bare) document.title = before + bare;
};
showTell();
