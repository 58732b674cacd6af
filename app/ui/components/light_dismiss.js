// A click beside an open menu closes it and does nothing else, except where it opens another menu or takes back what
// was deleted. A menu that is open and not visible, as its part of the page is hidden by now, swallows no click.
document.addEventListener(
  'click',
  event => {
    if (!event.isTrusted || !element.isConnected) return; // a script's click saves a file
    const menus = [...document.querySelectorAll('.more[open]')].filter(menu => !menu.contains(event.target)),
      isVisible = menus.some(menu => menu.checkVisibility());
    for (const menu of menus) menu.open = false;
    // A key presses what has the focus, wherever the menu is.
    if (!isVisible || !event.detail || event.target.closest('.more, .undo-strip')) return;
    event.preventDefault();
    event.stopPropagation();
  },
  true,
);
