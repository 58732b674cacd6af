const form = document.querySelector('form'),
  say = form.querySelector('[role=alert]'),
  button = form.querySelector('button');
form.addEventListener('submit', async event => {
  event.preventDefault();
  button.disabled = true;
  try {
    const answer = await fetch('login', {method: 'POST', body: new URLSearchParams(new FormData(form))});
    if (answer.ok) {
      location.reload();
      return;
    }
    say.textContent = await answer.text();
  } catch {
    say.textContent = form.dataset.noAnswer;
  }
  button.disabled = false;
  form.password.select();
});
form.username.focus();
// Nobody is logged in: pages left open in other tabs reload to this one, and this one reloads after a login elsewhere.
const tabs = new BroadcastChannel('velatura-now');
tabs.postMessage({user: null});
tabs.onmessage = ({data}) => {
  if (!data.user) return;
  tabs.close(); // further messages would reload the page again
  location.reload();
};
document.addEventListener('visibilitychange', async () => {
  if (!document.hidden && (await fetch('now')).ok) location.reload();
});
