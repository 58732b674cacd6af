"""What goes wrong in a way the user can mend."""

from __future__ import annotations


class VelaturaError(Exception):
    """One sentence for the user: what was wrong, what was found, what is allowed or what to do."""


class BusyError(VelaturaError):
    """Another process has what is needed just now."""
