// Values from the server begin with their version (`versioned`): the microseconds at which the server began to read
// them. Answers can arrive out of order; a value older than the one shown is ignored.
const VERSION = /^<!--(\d+)-->/;
const versionOf = value => Number(VERSION.exec(value || '')?.[1] ?? 0);
const makeStaleGuard = () => {
  let newest = 0;
  // The value without its version; null if it is outdated.
  return value => {
    const version = versionOf(value);
    if (version && version < newest) return null;
    newest = version || newest;
    return (value || '').replace(VERSION, '');
  };
};
