// The secret stays in the fragment of the address, which browsers send to nobody, until it has been used.
const lead = document.querySelector('main .lead'),
  open = async () => {
    form.secret.value = location.hash.slice(1);
    const {answer, wrong} = await send('invitation', new URLSearchParams({secret: form.secret.value}));
    form.hidden = Boolean(wrong);
    document.querySelector('.otherwise').hidden = !wrong;
    if (wrong) return (lead.textContent = wrong);
    const told = await answer.json();
    lead.textContent = told.lead;
    form.username.value = told.name;
    form.password.focus();
  };
logIn('invitation', () => location.replace(document.baseURI));
addEventListener('hashchange', open);
open();
