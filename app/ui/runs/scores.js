// The scores of the sampled steps: distance in style as a share of the base's, and change, with the best step marked.
const scoring = element.querySelector('.scores'),
  SCORED = {distance: [1, 120], change: [2, 76]}; // the column of a row, and the height of its figure
const scoreText = (kind, value) => (kind === 'distance' ? put(words.share, {share: number(value)}) : number(value));
const scoreFigure = (kind, {rows, best}) => {
  const width = scoring.querySelector('.plots').clientWidth,
    [column, height] = SCORED[kind],
    [before, after] = edges(),
    values = rows.map(row => row[column]),
    [low, high] = reach(values),
    x = step => place(step, points.steps, width),
    y = value => ROOM + (1 - (value - low) / (high - low)) * (height - 2 * ROOM);
  const marks = evenly(low, high, 3).filter(each => y(each) > ROOM - 1 && y(each) < height - ROOM + 1),
    scale = marks.map(each => {
      const up = y(each).toFixed(1),
        rule = `<path class="rule" d="M${before} ${up}H${width - after}"/>`;
      return `${rule}<text x="${before - 8}" y="${up}" dy="4">${scoreText(kind, each)}</text>`;
    });
  const base = `<path class="base" d="M${before} ${y(values[0]).toFixed(1)}H${width - after}"/>`,
    circles = rows.map(row => {
      const [name, radius] = row[0] === best ? [`${kind} best`, 6] : [kind, 3.5];
      return `<circle class="${name}" r="${radius}" cx="${x(row[0])}" cy="${y(row[column])}"/>`;
    });
  const line = path(
      rows.map(row => row[0]),
      values,
      x,
      y,
    ),
    hair = best === null ? '' : `<path class="mark" d="M${x(best)} 0V${height}"/>`,
    under = y(values[0]) + (kind === 'distance' ? 18 : -6), // its curve falls from the base's line, or rises
    title = `<text class="name" x="${width - after - 8}" y="${under}">${words[kind]}</text>`,
    all = [...scale, base, hair, `<path class="${kind}" d="${line}"/>`, ...circles, title].join('');
  return `<svg width="${width}" height="${height}" aria-hidden="true">${all}</svg>`;
};
const scoreTable = ({rows, best}) =>
  rows.map(([step, distance, change, noise, alike]) => {
    const row = document.createElement('tr'),
      head = Object.assign(document.createElement('th'), {scope: 'row'}),
      name = step === best ? words.bestStep : alike ? words.alikeStep : words.step,
      named = step ? put(name, {step}) : words.base;
    head.textContent = named;
    row.append(head);
    const near = [scoreText('distance', distance), noise ? `± ${scoreText('distance', noise)}` : ''].join(' ');
    for (const text of [near, scoreText('change', change)])
      row.append(Object.assign(document.createElement('td'), {className: 'number', textContent: text}));
    return row;
  });
// The scores of the selected step, or else of the best one.
const tellScores = () => {
  if (scoring.hidden) return;
  const {rows, best} = points.scores,
    row = rows.find(each => each[0] === at) ?? rows.find(each => each[0] === best) ?? rows.at(-1);
  const told = Object.entries(SCORED).map(([kind, [column]]) => [kind, words[kind], scoreText(kind, row[column])]);
  writeLegend(scoring.querySelector('.legend'), row[0] ? put(words.step, {step: row[0]}) : words.base, told);
  const head = scoring.querySelector('.head-line');
  head.hidden = at === null;
  head.style.insetInlineStart = `${place(at ?? 0, points.steps, scoring.querySelector('.plots').clientWidth)}px`;
};
const drawScores = () => {
  const {scores} = points ?? {};
  scoring.hidden = !scores;
  if (!scores || !scoring.querySelector('.plots').clientWidth) return;
  const sentence = scoring.querySelector('.reason');
  if (sentence.textContent !== scores.reason) sentence.textContent = scores.reason; // said once
  scoring.querySelector('.elsewhere').hidden = !scores.elsewhere;
  scoring.querySelector('.panels').innerHTML = Object.keys(SCORED)
    .map(kind => scoreFigure(kind, scores))
    .concat(axis(scoring.querySelector('.plots').clientWidth))
    .join('');
  scoring.querySelector('tbody').replaceChildren(...scoreTable(scores));
  tellScores();
};
scoring.querySelector('.plots').addEventListener('click', event => {
  const box = event.currentTarget.getBoundingClientRect(),
    step = stepAt(event.clientX - box.left, points.steps, box.width);
  document.dispatchEvent(new CustomEvent('velatura:travel', {detail: {step}}));
});
