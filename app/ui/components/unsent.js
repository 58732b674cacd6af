// Keeps typed text that has not reached the server in the browser's storage, by draft and tab, through reloads and
// server outages. Text of a closed tab goes to the next page of the same draft.
const unsent = (() => {
  const QUIET = 10000;
  const storage = name => {
    try {
      return window[name];
    } catch {
      return null;
    }
  }; // storage may be forbidden
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
      /* storage is full: the text is sent nevertheless */
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
    // Stores a field's text; `was` is the server's text when typing began.
    note: (name, text, was = '') =>
      change(start() + own, all => {
        all[name] = {text, was: all[name]?.was ?? was, at: Date.now()};
      }),
    // The server has this text; newer text stays stored.
    landed: (name, text) =>
      change(start() + own, all => {
        if (all[name]?.text === text) delete all[name];
        else if (all[name]) all[name].was = text;
      }),
    has: name => name in read(start() + own),
    // Text by field that earlier pages could not send; this tab sends it now.
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
