// The grid in the file that people save.
linkGrid(document.body);
