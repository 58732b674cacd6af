// What was typed and has not reached the server yet lies in the browser's storage, by draft and tab: neither a reload
// nor a server that is away loses it. What a tab left that is no more goes to the next page of the same draft.
const unsent = (() => {
  const QUIET = 10000;
  const storage = name => {
    try {
      return window[name];
    } catch {
      return null;
    }
  }; // a browser may forbid it
  const own = (() => {
    const kept = storage('sessionStorage'),
      fresh = Math.random().toString(36).slice(2);
    try {
      if (!kept.getItem('velatura-tab')) kept.setItem('velatura-tab', fresh);
      return kept.getItem('velatura-tab');
    } catch {
      return fresh;
    }
  })();
  const draft = () =>
    document.body.dataset.draft || `${window.gradio_config?.username || ''}${location.pathname.split('/').pop()}`;
  const start = () => `velatura-unsent:${draft()}:`;
  const read = key => {
    try {
      return JSON.parse(storage('localStorage').getItem(key)) || {};
    } catch {
      return {};
    }
  };
  const write = (key, fields) => {
    try {
      if (Object.keys(fields).length) storage('localStorage').setItem(key, JSON.stringify(fields));
      else storage('localStorage').removeItem(key);
    } catch {
      /* it is full: what stands in the field is sent all the same */
    }
  };
  const keys = () => {
    try {
      return Object.keys(storage('localStorage')).filter(key => key.startsWith(start()));
    } catch {
      return [];
    }
  };
  const change = (key, act) => {
    const fields = read(key);
    act(fields);
    write(key, fields);
  };
  return {
    // Keep the words of a field; `was` is what the server knew when somebody began to type.
    note: (name, text, was = '') =>
      change(start() + own, all => {
        all[name] = {text, was: all[name]?.was ?? was, at: Date.now()};
      }),
    // The server has these words; newer ones are kept on.
    landed: (name, text) =>
      change(start() + own, all => {
        if (all[name]?.text === text) delete all[name];
        else if (all[name]) all[name].was = text;
      }),
    has: name => name in read(start() + own),
    // What earlier pages could not send, by field; it is this tab's from now on.
    left: kind => {
      const found = {};
      for (const key of keys())
        change(key, all => {
          for (const [name, one] of Object.entries(all)) {
            if (!name.startsWith(kind) || (key !== start() + own && Date.now() - one.at < QUIET)) continue;
            if (!(found[name]?.at > one.at)) found[name] = one;
            delete all[name];
          }
        });
      change(start() + own, all => Object.assign(all, found));
      return found;
    },
  };
})();
