// A file that the server has made is saved as if its link had been pressed.
watch('value', () => {
  const {address, name} = props.value || {};
  if (!address) return;
  const link = Object.assign(document.createElement('a'), {href: address, download: name});
  document.body.append(link);
  link.click();
  link.remove();
});
