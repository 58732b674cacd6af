// Sends the latest value of each field until the server has it, one at a time so that values arrive in order. `send`
// gets a sequence number, which the answer returns; `landed` is called with each value the server has.
const inTurn = (send, patience, landed = () => {}) => {
  const flying = new Map(); // by name: the value being sent, and the next one
  let count = 0,
    waiting = [];
  const begin = (name, text) => {
    const mine = {text, count: ++count};
    flying.set(name, mine);
    send(name, text, mine.count);
    setTimeout(() => {
      if (flying.get(name) === mine && element.isConnected) begin(name, mine.next ?? text);
    }, patience);
  };
  const latest = name => {
    const one = flying.get(name);
    return one && (one.next ?? one.text);
  };
  return {
    latest,
    put: (name, text) => {
      const going = flying.get(name);
      if (going) going.next = text;
      else begin(name, text);
    },
    // The server has acknowledged this number.
    land: answered => {
      for (const [name, one] of [...flying]) {
        if (one.count !== answered) continue;
        flying.delete(name);
        landed(name, one.text);
        if ((one.next ?? one.text) !== one.text) begin(name, one.next);
      }
      if (flying.size) return;
      const acts = waiting;
      waiting = [];
      for (const {act, until} of acts) if (performance.now() < until) act();
    },
    // Runs an action after the server has received all values that were entered before it.
    afterwards: act => (flying.size ? waiting.push({act, until: performance.now() + patience}) : act()),
  };
};
// Matches an answer to its request even if the part ignores the answer's content.
const answeredIn = value => +(/ data-ack="(\d+)"/.exec(value || '')?.[1] ?? 0);
