// A click outside an open menu only closes it, unless it opens another menu or an undo. An open menu in a hidden part
// of the page does not intercept clicks.
document.addEventListener(
  'click',
  event => {
    if (!event.isTrusted || !element.isConnected) return; // a scripted click saves a file
    const menus = [...document.querySelectorAll('.more[open]')].filter(menu => !menu.contains(event.target)),
      isVisible = menus.some(menu => menu.checkVisibility());
    for (const menu of menus) menu.open = false;
    // A key press goes to the focused element wherever the menu is.
    if (!isVisible || !event.detail || event.target.closest('.more, .undo-strip')) return;
    event.preventDefault();
    event.stopPropagation();
  },
  true,
);
