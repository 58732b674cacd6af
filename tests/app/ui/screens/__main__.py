"""Pictures of every screen in both themes and four widths: `python -m tests.app.ui.screens [FOLDER [PART …]]`.

With `--marked`, in the language of `pseudo.py`, one theme and two widths; `findings.txt` then says what was not
translated, too.

It serves studios of its own on empty folders. A part is one of the modules beside this one; without any, all are
drawn. Beside the pictures stands `findings.txt`: what is too wide, without a name, too small to touch or too pale.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.app.ui.screens import PARTS
from tests.app.ui.screens.findings import findings
from tests.app.ui.screens.pseudo import LANGUAGE, SPEAK, unmarked
from tests.app.ui.screens.stage import Stage, write_files
from tests.app.ui.server import Process
from tests.app.ui.visitor import blank_page
from tests.browser import find_browser

SIZES, THEMES = ((360, 800), (768, 1024), (1440, 900), (1920, 1080)), ("light", "dark")


def main(folder: Path, parts: list[str], marked: bool = False) -> None:
    """Draw the screens of these parts into `folder`."""
    sizes, themes, before = (SIZES[::2], THEMES[:1], SPEAK) if marked else (SIZES, THEMES, "")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright, ExitStack() as ending:
        files = write_files(Path(place) / "in")
        whole = Process(Path(place) / "outputs", fresh=True, before=before)
        studios = whole, Process(Path(place) / "locked", "--auth", "ann:pear", before=before)
        for studio in studios:
            ending.callback(studio.stop)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        found: list[str] = []
        for theme in themes:
            for width, height in sizes:
                size = {"width": width, "height": height}
                language = {"locale": LANGUAGE} if marked else {}
                with blank_page(browser, viewport=size, has_touch=width < 721, color_scheme=theme, **language) as page:
                    stage = Stage(page, *studios, files)
                    for part in parts:
                        for name in PARTS[part].screens(stage):
                            page.wait_for_timeout(400)
                            page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
                            wrong = findings(page) + (unmarked(page) if marked else [])
                            found += [f"{name}-{width}-{theme}: {one}" for one in wrong]
                (folder / "findings.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
        browser.close()


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--marked"]
    main(Path(words[0] if words else "outputs/screens"), words[1:] or list(PARTS), len(words) < len(sys.argv) - 1)
