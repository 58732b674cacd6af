"""The pages for people who read: every link leads somewhere, every page is on the map, every path and module exists."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools import tables

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\((?!https?:)([^)#\s]+)[^)]*\)")
ANCHOR = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")


WORDS = {"README.md": 1000, "docs/design.md": 4500}
"""Pages that people read whole, and the most words that they may have."""


def words_of(page: Path) -> str:
    return CODE.sub("", page.read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = [link for link in LINK.findall(words_of(page)) if not (page.parent / link).exists()]
    assert lost == []


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page, and those that it names itself."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.name}")
def test_every_anchor_is_a_heading(page: Path) -> None:
    links = ANCHOR.findall(words_of(page))
    lost = [
        f"{name}#{anchor}" for name, anchor in links if anchor not in anchors_of(page.parent / name if name else page)
    ]
    assert lost == []


def test_every_page_is_on_the_map() -> None:
    named = set(LINK.findall(read("docs/README.md")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= named


@pytest.mark.parametrize("name", WORDS)
def test_a_page_that_people_read_whole_is_short(name: str) -> None:
    assert 300 < len(read(name).split()) <= WORDS[name]


def test_every_table_has_a_place() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert sorted(match["name"] for match in tables.MARKED.finditer(pages)) == sorted(tables.TABLES)


def test_every_page_about_another_place_is_on_its_map() -> None:
    named = set(LINK.findall(read("docs/deploy/README.md")))
    assert {page.name for page in (ROOT / "docs" / "deploy").glob("*.md")} - {"README.md"} <= named


def test_every_place_that_contributors_are_sent_to_exists() -> None:
    page = read("CONTRIBUTING.md")
    named = set(re.findall(r"`(?:pytest )?((?:app|trainers|tests|tools|presets|docs|benchmarks)/[^`*]*)`", page))
    places = {word for words in named for word in words.split() if "NAME" not in word and word != "→"}
    assert len(places) > 20
    assert {place for place in places if not (ROOT / place).exists()} == set()


@pytest.mark.parametrize("page", ["design.md", "development.md", "reliability.md"])
def test_every_file_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"(?<![\w/])((?:\w+/)*\w+\.py)\b", read(f"docs/{page}")))
    sources = [path.as_posix() for path in ROOT.glob("[a-z]*/**/*.py")]
    assert named and {name for name in named if not any(path.endswith(f"/{name}") for path in sources)} == set()


def test_every_module_that_has_moved_is_where_the_changelog_says() -> None:
    rows = re.findall(r"^  \| `[^|]+\| (`[^|]+) \|$", read("CHANGELOG.md"), re.MULTILINE)
    modules = {name for row in rows for name in re.findall(r"\b(?:app|trainers|tools)(?:\.\w+)+", row)}
    assert len(rows) > 5
    assert {name for name in modules if find_spec(name) is None} == set()


def test_every_make_target_is_explained() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE)) - {"help"}
    table = "".join(re.findall(r"^\| `make .*$", read("docs/development.md"), re.MULTILINE))
    assert targets == set(re.findall(r"make ([a-z-]+)", table))


def test_the_workflow_runs_what_there_is() -> None:
    used = set(re.findall(r"run: make ([a-z-]+)", read(".github/workflows/tests.yml")))
    assert "test" in used and used <= set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
