logIn('login', () => location.reload());
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
