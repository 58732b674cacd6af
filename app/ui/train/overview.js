// The hints above the wall: they filter their pictures, or open the panel that helps.
element.addEventListener('click', event => {
  const {show, line, panel} = event.target.closest('button')?.dataset || {};
  if (show) document.dispatchEvent(new CustomEvent('velatura:show', {detail: {kind: show, line}}));
  if (panel) document.dispatchEvent(new CustomEvent('velatura:panel', {detail: {panel, which: 'empty'}}));
});
