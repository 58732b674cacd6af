// A line below the bar while the server does not answer: that the page reconnects, and what waits to be sent.
const away = element.querySelector('.away');
const countUnsent = () => {
  try {
    return Object.keys(localStorage)
      .filter(key => key.startsWith('velatura-unsent:'))
      .reduce((count, key) => count + Object.keys(JSON.parse(localStorage.getItem(key))).length, 0);
  } catch {
    return 0;
  }
};
const sayAway = () => {
  const count = countUnsent(),
    kept = count > 1 ? props.words.more.replace('{count}', count) : count ? props.words.one : '';
  const said = `${props.words.away} ${kept}`.trim();
  if (away.textContent !== said) away.textContent = said;
};
let counting = 0;
const showAway = is => {
  if (is === 'away' in document.documentElement.dataset) return;
  document.documentElement.toggleAttribute('data-away', is);
  clearInterval(counting);
  if (is) {
    sayAway();
    counting = setInterval(sayAway, 1000); // counts what is typed meanwhile
  } else away.textContent = '';
};
