// Draws the contact sheet with the scripts of the run's page; refreshes it every ten seconds until the run has ended.
const sheet = document.querySelector('#run-sheet'),
  heard = [],
  listen = (_, hear) => heard.push(hear);
const part = {words: JSON.parse(sheet.dataset.words), star: sheet.dataset.star, value: sheet.dataset.sheet};
Object.values(studio)[0](sheet, () => {}, part, null, null, listen);
const look = async () => {
  const shown = document.querySelector('main');
  if ('ended' in shown.dataset) return;
  try {
    const answer = document.hidden ? null : await fetch(location.href);
    if (answer?.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html'),
        fresh = page.querySelector('main');
      document.querySelector('.title').replaceWith(fresh.querySelector('.title'));
      part.value = fresh.querySelector('#run-sheet').dataset.sheet;
      heard.forEach(hear => hear());
      shown.toggleAttribute('data-ended', 'ended' in fresh.dataset);
    }
  } catch {
    /* the studio is away: the next attempt follows */
  }
  setTimeout(look, 10000);
};
setTimeout(look, 10000);
