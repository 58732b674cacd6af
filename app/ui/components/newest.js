// What the server sends begins with its version (`stamped`), microseconds at which the server began to read it. A later
// answer may overtake one: what is older than what is shown is passed over.
const VERSION = /^<!--(\d+)-->/;
const versionOf = value => Number(VERSION.exec(value || '')?.[1] ?? 0);
const makeNewest = () => {
  let newest = 0;
  // A value without its version; null for one that was overtaken.
  return value => {
    const version = versionOf(value);
    if (version && version < newest) return null;
    newest = version || newest;
    return (value || '').replace(VERSION, '');
  };
};
