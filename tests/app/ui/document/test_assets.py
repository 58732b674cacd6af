"""Scripts, sheets and files of the pages: all are found, joined in order, and nothing else is served."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.ui.document.assets import (
    BARE_SHEETS,
    DOCUMENT_SHEETS,
    IMMUTABLE,
    PAGE_SHEETS,
    RESET_SHEET,
    STATIC,
    STRONGER,
    UI,
    asset,
    asset_routes,
    bundles,
    read_scripts,
    run_scripts,
    version,
)

OTHER = run_scripts("components/refresh.js")
LINE = run_scripts("components/fetch.js", "components/clicks.js")

PAGE_FOLDERS = {sheet.split("/")[0] for sheet in PAGE_SHEETS} - {"components"}
CLASS = re.compile(r"\.([a-zA-Z][\w-]*)")
FROM_THE_ROOT = r"""(?:href|src|action)="/|(?:fetch|EventSource|url)\(["'`]?/|open\('[A-Z]+', ["'`]/|href = ["'`]/"""
"""What an address begins with that is no address below `--root-path`."""
OF_GRADIO = {"gradio-container", "html-container", "main", "fillable", "block"}
WRITTEN = re.compile(r"class=\"([^\"]*)\"|(?:className\s*[:=]|classList\.\w+\()\s*'([\w -]+)'")
"""Classes in templates and scripts."""


def names(suffix: str) -> list[str]:
    return sorted(path.relative_to(UI).as_posix() for path in UI.rglob(f"*{suffix}"))


def classes_in(folder: str) -> set[str]:
    """The classes that elements of a page have, as far as they are written down."""
    files = [path for path in (UI / folder).rglob("*") if path.suffix in (".html", ".js")]
    text = re.sub(r"{[%{#].*?[%}#]}", " ", "\n".join(path.read_text("utf-8") for path in files), flags=re.DOTALL)
    return {one for found in WRITTEN.findall(text) for one in " ".join(found).split()}


def selectors_of(sheet: str) -> list[str]:
    """The selectors of a sheet that name classes alone, without what stands in brackets."""
    text = re.sub(r"/\*.*?\*/", "", read_scripts(sheet), flags=re.DOTALL)
    while (inner := re.sub(r"\([^()]*\)", "", text)) != text:
        text = inner
    rules = [rule for rule in re.findall(r"([^{};]+){", text) if not rule.strip().startswith("@")]
    return [one.strip() for rule in rules for one in rule.split(",") if "#" not in one]


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=asset_routes(bundles({"": [LINE, LINE], "runs": [OTHER]}))))


def test_assets_are_served_for_good_and_nothing_beside_them(client):
    for name in ("icon.svg", "fonts/IBMPlexSans-Bold-Latin1.woff2", "methods/lora.webp"):
        answer = client.get(f"/{asset(name)}")
        assert answer.content == (STATIC / name).read_bytes() and answer.headers["cache-control"] == IMMUTABLE
    sent = {"scripts/index.js": "javascript", "scripts/runs.js": "javascript", "studio.css": "css", "bare.css": "css"}
    for name, kind in sent.items():
        answer = client.get(f"/{asset(name)}")
        assert (
            answer.headers["content-type"].startswith(f"text/{kind}") and answer.headers["cache-control"] == IMMUTABLE
        )
    for name in ("server.py", "document/tokens.css", "components/menus.js", "runs", "%2e%2e/server.py"):
        assert client.get(f"/{asset(name)}").status_code == 404, name


def test_what_an_earlier_edition_asks_for_is_not_kept(client):
    assert len(version()) == 12 and f"look/{version()}/" in asset("icon.svg")
    for name in ("icon.svg", "scripts/index.js"):
        answer = client.get(f"/look/0123456789ab/{name}")
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-cache"


def test_the_scripts_of_a_part_are_one_function_of_its_pages_script(client):
    script = client.get(f"/{asset('scripts/index.js')}").text
    assert LINE.startswith('studio["components/fetch.js components/clicks.js"](element, trigger, props,')
    assert script.startswith("const studio={'components/fetch.js components/clicks.js':(element,trigger,props,")
    assert script.index("data-fetch") < script.index("data-do") and script.count("data-fetch") == 1
    assert "//" not in script and "'outdated'" in client.get(f"/{asset('scripts/runs.js')}").text


def test_scripts_that_are_imported_later_are_a_module(client):
    module = client.get(f"/{asset('scripts/editor.js')}")
    assert module.headers["content-type"].startswith("text/javascript")
    assert module.text.startswith("export default shared=>{") and module.text.count("'picture_cropped'") == 1
    assert "'picture_cropped'" not in client.get(f"/{asset('scripts/index.js')}").text


def test_sheets_are_joined_in_order_and_pages_win_over_gradio(client):
    sheet = client.get(f"/{asset('studio.css')}").text
    document, pages = sheet.split(f"{STRONGER}{{")
    assert document.index("@font-face") < document.index("--wall") < document.index("scroll-padding")
    assert pages.index(".skip{") < pages.index(".zone{") < pages.index("#comparison")
    assert "/*" not in sheet and sheet.count("{") == sheet.count("}") > 500
    bare = client.get(f"/{asset('bare.css')}").text
    assert bare.startswith(document) and bare.index("min-height: 100vh") < bare.index(STRONGER) < bare.index(".top{")


def test_every_sheet_is_used_and_every_font_there():
    assert {*DOCUMENT_SHEETS, RESET_SHEET, *PAGE_SHEETS, *BARE_SHEETS} == set(names(".css")) and len(PAGE_SHEETS) > 10
    fonts = re.findall(r"url\('(.+?)'\)", read_scripts("document/fonts.css"))
    assert sorted(fonts) == sorted(f"fonts/{path.name}" for path in (STATIC / "fonts").glob("*.woff2"))


def test_every_script_is_used():
    pages = "".join(path.read_text(encoding="utf-8") for kind in ("*.py", "*.html") for path in UI.rglob(kind))
    assert [name for name in names(".js") if f'"{name}"' not in pages] == [] and len(names(".js")) > 20


@pytest.mark.parametrize("name", [name for kind in (".html", ".js", ".css") for name in names(kind)])
def test_no_address_leaves_the_path_below_which_a_studio_is(name):
    assert re.findall(FROM_THE_ROOT, read_scripts(name)) == []


def test_an_address_from_the_root_is_found():
    bad = (
        '<a href="/runs">',
        "fetch('/now')",
        "new EventSource('/now/stream')",
        "location.href = `/run`",
        "url(/a.png)",
    )
    assert [len(re.findall(FROM_THE_ROOT, one)) for one in bad] == [1] * len(bad)


@pytest.mark.parametrize("name", PAGE_SHEETS)
def test_sheets_of_pages_say_nothing_that_does_nothing_when_nested(name):
    text = read_scripts(name)
    assert re.findall(r"(?m)^\s*(?:html|:root)\b|@(?:keyframes|font-face|import|charset)", text) == []


@pytest.mark.parametrize("name", [name for name in (*names(".js"), *names(".css")) if name != "document/fonts.css"])
def test_lines_are_short_enough_to_be_read(name):
    assert [line for line in (UI / name).read_text(encoding="utf-8").splitlines() if len(line) > 120] == []


def test_no_rule_of_a_pages_sheet_reaches_the_elements_of_another_page():
    """All pages have one sheet: what several of them share stands in `components`."""
    classes = {folder: classes_in(folder) for folder in PAGE_FOLDERS}
    assert len(classes["train"]) > 100
    found = [
        f"{sheet}: {selector} in {folder}"
        for sheet in PAGE_SHEETS
        if not sheet.startswith("components/")
        for selector in selectors_of(sheet)
        for folder in PAGE_FOLDERS - {sheet.split("/")[0]}
        if (named := set(CLASS.findall(selector)) - OF_GRADIO) and named <= classes[folder]
    ]
    assert found == []
