"""`python -m tools.tables` rewrites the tables of the documentation; with `--check` it only names outdated pages."""

from __future__ import annotations

import sys

from tools.tables import COMMAND, stale_pages, write_tables


def main() -> int:
    """Rewrite or check the tables; the exit code."""
    if "--check" not in sys.argv[1:]:
        pages = write_tables()
        print("\n".join(f"docs/{page.name} is rewritten" for page in pages) or "The tables are current.")
        return 0
    pages = stale_pages()
    print("\n".join(f"docs/{page.name} is out of date; run: {COMMAND}" for page in pages) or "The tables are current.")
    return bool(pages)


if __name__ == "__main__":
    raise SystemExit(main())
