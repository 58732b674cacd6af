// Whether the server answers.
const reachable = async () => {
  try {
    return (await fetch('now', {cache: 'no-store', signal: AbortSignal.timeout(5000)})).ok;
  } catch {
    return false;
  }
};
