// What the server sends begins with the moment that it tells of (`stamped`). A later answer may overtake one: what
// tells of an earlier moment than what is shown is passed over.
const STAMP = /^<!--([\d ]+)-->/;
const isBefore = (one, other) => {
  const place = one.findIndex((each, k) => each !== other[k]);
  return place >= 0 && one[place] < other[place];
};
const makeNewest = () => {
  let newest = [];
  // A value without its moment; null for one that was overtaken.
  return value => {
    const found = STAMP.exec(value || '');
    if (!found) return value || '';
    const moment = found[1].split(' ').map(Number);
    if (isBefore(moment, newest)) return null;
    newest = moment;
    return value.slice(found[0].length);
  };
};
