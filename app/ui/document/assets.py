"""Scripts, style sheets, fonts and images of the pages.

Scripts and sheets are in their page's folder. Browsers load one script of a page and one sheet of all pages, from
addresses with a hash of everything that pages are made of, so that they may keep them for good.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

UI = Path(__file__).parents[1]
STATIC = UI / "static"
LOOK = "look"
"""Addresses of assets begin with it."""
SHEET, BARE_SHEET = "studio.css", "bare.css"
"""The sheet of all pages, and that of documents without Gradio."""
DOCUMENT_SHEETS = ("document/fonts.css", "document/tokens.css", "document/document.css")
"""What is said of the whole document; all other sheets are nested, where `html` and keyframes do nothing."""
BARE_SHEETS = ("document/bare.css", "links/links.css", "account/account.css")
PAGE_SHEETS = (
    "components/base.css",
    "components/shell.css",
    "components/fields.css",
    "components/folds.css",
    "components/menus.css",
    "components/dialogs.css",
    "components/notices.css",
    "components/heads.css",
    "components/tables.css",
    "train/images.css",
    "train/wall.css",
    "train/bench.css",
    "train/caption_tools.css",
    "train/choices.css",
    "train/advanced.css",
    "train/base_models.css",
    "train/settings.css",
    "train/start.css",
    "runs/list.css",
    "runs/run.css",
    "trash/trash.css",
    "playground/playground.css",
    "styles/styles.css",
    "runs/compare.css",
    "sweep/sweep.css",
)
"""The sheets of all pages; a later one wins."""
STRONGER = ":is(html, gradio-app .gradio-container.gradio-container .contain)"
"""Any element of a page, at the specificity that Gradio's own rules for its content have."""
TYPES = {".js": "text/javascript", ".css": "text/css"}
IMMUTABLE = "private, max-age=31536000, immutable"
CALL = 'studio["{}"](element, trigger, props, server, upload, watch)'
"""How a part of a page runs its scripts, to which Gradio hands these values."""
CALLED = re.compile(r'studio\["([^"]+)"\]\(')


def read_scripts(*names: str) -> str:
    """The concatenated text of scripts or sheets."""
    return "".join((UI / name).read_text(encoding="utf-8") for name in names)


def run_scripts(*names: str) -> str:
    """A line that runs scripts of the page's script in one scope, in this order."""
    return CALL.format(" ".join(names))


@cache
def version() -> str:
    """A hash of the code of all pages and of everything they load; it changes with every edition of the studio."""
    found = sha256()
    for path in sorted(path for path in UI.rglob("*.*") if path.is_file() and path.suffix != ".pyc"):
        found.update(path.relative_to(UI).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def asset(name: str) -> str:
    """The address of an asset, relative to a page."""
    return f"{LOOK}/{version()}/{name}"


def script_of(page: str) -> str:
    """The name of a page's script, by the page's address without the slash."""
    return f"scripts/{page or 'index'}.js"


def join_scripts(lines: Iterable[str]) -> str:
    """The script of a page, without comments: a function for each of the lines that `run_scripts` has made."""
    from rjsmin import jsmin

    called = sorted({name for line in lines for name in CALLED.findall(line)})
    functions = (
        f"'{names}': (element, trigger, props, server, upload, watch) => {{\n{read_scripts(*names.split())}}},\n"
        for names in called
    )
    return str(jsmin(f"const studio = {{\n{''.join(functions)}}};\n"))


def join_sheets() -> str:
    """The sheet of all pages, without comments and indentation."""
    sheets = f"{read_scripts(*DOCUMENT_SHEETS)}{STRONGER} {{\n{read_scripts(*PAGE_SHEETS)}}}\n"
    return re.sub(r"\n\s+", "\n", re.sub(r"/\*.*?\*/", "", sheets, flags=re.DOTALL))


def bundles(pages: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The scripts and sheets of pages, by name; `pages` are the lines that run scripts, by the page's address."""
    return {
        **{script_of(page): join_scripts(lines) for page, lines in pages.items()},
        SHEET: join_sheets(),
        BARE_SHEET: read_scripts(*DOCUMENT_SHEETS[:2], *BARE_SHEETS),
    }


def asset_routes(joined: Mapping[str, str]) -> list[BaseRoute]:
    """Routes below `/look/VERSION`: what was joined, and the files of `static/`."""
    return [
        *(_route(name, text) for name, text in joined.items()),
        _files_route(),
    ]


def _route(name: str, text: str) -> Route:
    kind = TYPES[Path(name).suffix]

    def answer(request: Request) -> Response:
        return Response(text, media_type=kind, headers=_caching(request.path_params["version"]))

    return Route(f"/{LOOK}/{{version}}/{name}", answer)


def _files_route() -> Route:
    """The files of `static/`; a mount would not find them below a root path, which the proxy takes off the path."""
    files = _Files(directory=STATIC)

    async def answer(request: Request) -> Response:
        return await files.get_response(request.path_params["path"], request.scope)

    return Route(f"/{LOOK}/{{version}}/{{path:path}}", answer)


class _Files(StaticFiles):
    """The files of `static/`."""

    def file_response(
        self, full_path: os.PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers.update(_caching(scope["path_params"]["version"]))
        return answer


def _caching(wanted: str) -> dict[str, str]:
    """For good under the address of this edition; what a page of an earlier one gets is asked for again."""
    return {"cache-control": IMMUTABLE if wanted == version() else "no-cache"}
