// Saves a file that the server has created, as its link would.
watch('value', () => {
  const {address, name} = props.value || {};
  if (!address) return;
  const link = Object.assign(document.createElement('a'), {href: address, download: name});
  document.body.append(link);
  link.click();
  link.remove();
});
