"""Prints which of some modules are loaded: `python -m tests.trainers.loaded_modules NAME …`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    print(*(name for name in sys.argv[1:] if name in sys.modules))
