// Values from the server begin with their version (`versioned`), the microseconds at which the server began to read
// them. Answers may overtake each other: a value that is older than the one shown is ignored.
const VERSION = /^<!--(\d+)-->/;
const versionOf = value => Number(VERSION.exec(value || '')?.[1] ?? 0);
const makeStaleGuard = () => {
  let newest = 0;
  // A value without its version; null for one that was overtaken.
  return value => {
    const version = versionOf(value);
    if (version && version < newest) return null;
    newest = version || newest;
    return (value || '').replace(VERSION, '');
  };
};
