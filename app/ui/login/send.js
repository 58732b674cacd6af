// A form of which the answer is a login, or a sentence that is shown in it.
const form = document.querySelector('main form'),
  say = form.querySelector('[role=alert]'),
  button = form.querySelector('button');
const send = async (where, body) => {
  try {
    const answer = await fetch(where, {method: 'POST', body});
    return answer.ok ? {answer} : {wrong: await answer.text()};
  } catch {
    return {wrong: form.dataset.noAnswer};
  }
};
const logIn = (where, done) =>
  form.addEventListener('submit', async event => {
    event.preventDefault();
    button.disabled = true;
    const {wrong} = await send(where, new URLSearchParams(new FormData(form)));
    if (!wrong) return done();
    say.textContent = wrong;
    button.disabled = false;
    form.password.select();
  });
