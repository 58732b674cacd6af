// The bar of the page says what the queue does: where the list of it has changed, so may have that.
watch('value', () => document.dispatchEvent(new Event('velatura:queue')));
