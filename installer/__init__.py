"""Installs Velatura for one person, updates it, goes back and uninstalls it, with Python's standard library alone."""
