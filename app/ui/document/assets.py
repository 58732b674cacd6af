"""Scripts and style sheets, each in its page's folder, by names such as `runs/list.css`."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePath

from starlette.staticfiles import StaticFiles

UI = Path(__file__).parents[1]
STATIC = UI / "static"
STYLE_SHEETS = (
    STATIC / "tokens.css",
    *(
        UI / name
        for name in (
            "components/base.css",
            "components/shell.css",
            "components/fields.css",
            "components/folds.css",
            "components/menus.css",
            "components/dialogs.css",
            "components/notices.css",
            "train/images.css",
            "train/caption_tools.css",
            "train/choices.css",
            "train/base_models.css",
            "train/settings.css",
            "train/start.css",
            "runs/list.css",
            "runs/run.css",
            "trash/trash.css",
            "playground/playground.css",
            "styles/styles.css",
            "runs/compare.css",
        )
    ),
)
"""The sheets of all pages, which Gradio serves as one; a later one wins."""


def read_scripts(*names: str) -> str:
    """The concatenated text of scripts."""
    return "".join((UI / name).read_text(encoding="utf-8") for name in names)


class Assets(StaticFiles):
    """Files that browsers load from `look/`: `static/` and the pages' scripts and sheets."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        beside = _beside_pages().get(PurePath(path).as_posix())
        return (str(beside), beside.stat()) if beside is not None else super().lookup_path(path)


@cache
def _beside_pages() -> dict[str, Path]:
    """All scripts and sheets outside `static/` by name; no other file of a page's folder is served."""
    found = (path for path in UI.rglob("*.*") if path.suffix in (".js", ".css") and STATIC not in path.parents)
    return {path.relative_to(UI).as_posix(): path for path in found}
