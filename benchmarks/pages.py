"""Pages of results, of which each benchmark writes its own section."""

from __future__ import annotations

import re
from pathlib import Path


def write_section(page: Path, text: str) -> None:
    """Put a section, `# Heading` and what follows, in the place of the one of that name, else at the end."""
    sections = re.split(r"^(?=# )", page.read_text(encoding="utf-8"), flags=re.MULTILINE) if page.exists() else []
    heading = text.partition("\n")[0]
    kept = [text if section.partition("\n")[0] == heading else section for section in sections if section.strip()]
    if text not in kept:
        kept.append(text)
    page.write_text("\n\n".join(section.strip() for section in kept) + "\n", encoding="utf-8")
