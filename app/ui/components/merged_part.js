// After all scripts of a part are set up.
watch('value', patch);
patch();
