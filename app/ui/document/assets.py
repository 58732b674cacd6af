"""Scripts, style sheets, fonts and images of the pages.

Scripts and sheets are in their page's folder. Browsers load one script per page, what it imports later, and one sheet
for all pages. Their addresses contain a hash of the pages' code, so browsers cache them forever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
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
"""First segment of the addresses of assets."""
SHEET, BARE_SHEET = "studio.css", "bare.css"
"""The sheet of all pages, and that of documents without Gradio."""
DOCUMENT_SHEETS = ("document/fonts.css", "document/tokens.css", "document/document.css")
"""Sheets with rules for `html` and keyframes, which have no effect in the other sheets, as those are nested."""
RESET_SHEET = "document/reset.css"
COMMON_SHEETS = ("components/base.css", "components/shell.css", "components/fields.css")
BARE_SHEETS = (
    *COMMON_SHEETS,
    "components/dialogs.css",
    "components/notices.css",
    "components/heads.css",
    "runs/run.css",
    "document/bare.css",
    "account/account.css",
    "links/links.css",
)
"""The sheets of documents without Gradio, after `document/reset.css`, which stands in for Gradio's own rules."""
PAGE_SHEETS = (
    *COMMON_SHEETS,
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
    "steps/grid.css",
    "steps/steps.css",
    "sweep/sweep.css",
)
"""The sheets of all pages, in the order of the cascade."""
LATER = {"editor": ("train/bench.js", "train/mask.js")}
"""Scripts that a page imports when it needs them: one function of `shared`, the page's values that they use."""
STRONGER = ":is(html, gradio-app .gradio-container.gradio-container .contain)"
"""Selects any element of a page, with the specificity of Gradio's own rules."""
TYPES = {".js": "text/javascript", ".css": "text/css"}
IMMUTABLE = "private, max-age=31536000, immutable"
CALL = 'studio["{}"](element, trigger, props, server, upload, watch)'
"""The call of a part's scripts, with the values that Gradio provides."""
CALLED = re.compile(r'studio\["([^"]+)"\]\(')


def read_scripts(*names: str) -> str:
    """The concatenated text of scripts or sheets."""
    return "".join((UI / name).read_text(encoding="utf-8") for name in names)


def run_scripts(*names: str) -> str:
    """A line of JavaScript that runs these scripts in one scope, in this order."""
    return CALL.format(" ".join(names))


@cache
def version() -> str:
    """A hash of the code of all pages and of their assets."""
    digest = sha256()
    for path in sorted(path for path in UI.rglob("*.*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(path.relative_to(UI).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def asset(name: str) -> str:
    """The address of an asset, relative to a page."""
    return f"{LOOK}/{version()}/{name}"


def script_of(page: str) -> str:
    """The name of the script of a page, whose address has no leading slash."""
    return f"scripts/{page or 'index'}.js"


def join_scripts(lines: Iterable[str]) -> str:
    """The minified script of a page: a function for each line of `run_scripts`."""
    from rjsmin import jsmin

    called = sorted({name for line in lines for name in CALLED.findall(line)})
    functions = (
        f"'{names}': (element, trigger, props, server, upload, watch) => {{\n{read_scripts(*names.split())}}},\n"
        for names in called
    )
    return str(jsmin(f"const studio = {{\n{''.join(functions)}}};\n"))


def join_later(names: Iterable[str]) -> str:
    """The minified module of scripts that a page imports."""
    from rjsmin import jsmin

    return str(jsmin(f"export default shared => {{\n{read_scripts(*names)}}};\n"))


def join_sheets(document: Sequence[str] = DOCUMENT_SHEETS, nested: Sequence[str] = PAGE_SHEETS) -> str:
    """A minified sheet, by default that of all pages."""
    sheets = f"{read_scripts(*document)}{STRONGER} {{\n{read_scripts(*nested)}}}\n"
    bare = re.sub(r"/\*.*?\*/", "", sheets, flags=re.DOTALL)
    return re.sub(r" ?([{};,])\s*\n\s*|\n\s+", lambda broken: broken[1] or "\n", bare)


def bundles(pages: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """All scripts and sheets by name; `pages` holds the lines of `run_scripts` by the page's address."""
    return {
        **{script_of(page): join_scripts(lines) for page, lines in pages.items()},
        **{script_of(name): join_later(scripts) for name, scripts in LATER.items()},
        SHEET: join_sheets(),
        BARE_SHEET: join_sheets((*DOCUMENT_SHEETS, RESET_SHEET), BARE_SHEETS),
    }


def asset_routes(joined: Mapping[str, str]) -> list[BaseRoute]:
    """Routes below `/look/VERSION`: the bundles in `joined`, and the files of `static/`."""
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
    """The route of `static/`; a mount would fail below a root path that the proxy strips."""
    files = _Files(directory=STATIC)

    async def answer(request: Request) -> Response:
        return await files.get_response(request.path_params["path"], request.scope)

    return Route(f"/{LOOK}/{{version}}/{{path:path}}", answer)


class _Files(StaticFiles):
    """Static files that browsers cache by version."""

    def file_response(
        self, full_path: os.PathLike[str] | str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers.update(_caching(scope["path_params"]["version"]))
        return answer


def _caching(wanted: str) -> dict[str, str]:
    """Caching headers: forever at the address of this version, else with a check."""
    return {"cache-control": IMMUTABLE if wanted == version() else "no-cache"}
