// What was typed or chosen last, of each name, goes to the server until it has it: one at a time, so that none
// overtakes another. `send` is given a number, which the answer says; `landed` hears what the server has.
const inTurn = (send, patience, landed = () => {}) => {
  const flying = new Map(); // by name: what is on its way, and what is to follow
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
    // The server has answered the one of this number.
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
    // Does it once the server has all of these: what is pressed after typing must not come before it.
    afterwards: act => (flying.size ? waiting.push({act, until: performance.now() + patience}) : act()),
  };
};
// Which one an answer is to, even where the part passes the answer over.
const answeredIn = value => +(/ data-kept="(\d+)"/.exec(value || '')?.[1] ?? 0);
