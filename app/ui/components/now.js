// The state of the computer, received whenever it changes. One visible tab receives it for the others, since browsers
// open only six connections per server; without locks, as on plain HTTP, each tab has its own. The page reloads once:
// messages that arrive meanwhile would reload it again.
let leaving = false;
const leave = () => {
  if (leaving) return;
  leaving = true;
  location.reload();
};
const followNow = show => {
  const channel = new BroadcastChannel('velatura-now');
  let heard = 0; // number of messages from the stream
  const hear = now => {
    heard++;
    if (!leaving) show(now);
  };
  channel.onmessage = ({data}) => hear(data);
  const readOnce = async () => {
    const before = heard;
    try {
      const answer = await fetch('now');
      if (answer.status === 401) leave();
      else if (answer.ok) {
        const now = await answer.json();
        if (heard === before) show(now); // otherwise the stream was faster
      }
    } catch {
      /* the server is away: the next attempt follows */
    }
  };
  // Resolves when another tab may receive.
  const listen = () =>
    new Promise(resolve => {
      const stream = new EventSource('now/stream');
      const stop = () => {
        if (!document.hidden) return;
        stream.close();
        document.removeEventListener('visibilitychange', stop);
        resolve();
      };
      const tellAll = now => {
        channel.postMessage(now);
        hear(now);
      };
      let missing = 0;
      const unheard = is => document.documentElement.toggleAttribute('data-unheard', is);
      stream.onmessage = ({data}) => {
        unheard(false);
        clearTimeout(missing);
        missing = 0;
        tellAll(JSON.parse(data));
      };
      stream.onerror = () => {
        unheard(true); // Gradio would report it at once, although the server is often back a moment later
        if (stream.readyState !== EventSource.CLOSED) {
          missing ||= setTimeout(tellAll, 2500, {away: true}); // the browser reconnects by itself every second
          return;
        }
        document.removeEventListener('visibilitychange', stop);
        readOnce();
        setTimeout(resolve, 2000);
      };
      document.addEventListener('visibilitychange', stop);
      stop();
    });
  const follow = async () => {
    while (!document.hidden) await (navigator.locks ? navigator.locks.request('velatura-now', listen) : listen());
  };
  let following = false;
  const begin = async () => {
    if (document.hidden || following) return;
    following = true;
    readOnce();
    await follow();
    following = false;
    begin(); // it may be visible again
  };
  document.addEventListener('visibilitychange', begin);
  begin();
};
