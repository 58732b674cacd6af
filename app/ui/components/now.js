// What the server says of the computer, whenever that changes. Of all visible tabs one listens and tells the others,
// since a browser opens six connections to a server and no more; without locks, as on plain HTTP, each listens for
// itself.
// The page is asked for anew, once: messages that arrive while it goes would ask again and again.
let leaving = false;
const leave = () => {
  if (leaving) return;
  leaving = true;
  location.reload();
};
const followNow = show => {
  const channel = new BroadcastChannel('velatura-now');
  let heard = 0; // messages of the stream
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
        if (heard === before) show(now); // else the stream has overtaken it
      }
    } catch {
      /* the server is away: asked again soon */
    }
  };
  // Resolves when somebody else may listen.
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
        unheard(true); // Gradio would say so at once, and a moment later it is often back
        if (stream.readyState !== EventSource.CLOSED) {
          missing ||= setTimeout(tellAll, 2500, {away: true}); // the browser tries again by itself, each second
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
    begin(); // it may have become visible again in between
  };
  document.addEventListener('visibilitychange', begin);
  begin();
};
