"""The contract between the pages and their scripts: what one side says the other side understands, and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import gradio as gr
import pytest
from jinja2 import nodes

from app.studio.paths import Paths, UploadFolder
from app.studio.services import open_services
from app.ui.components.events import PageEvent
from app.ui.components.live_parts import OUTDATED
from app.ui.document.assets import CALLED, LATER, read_scripts
from app.ui.document.templates import ROOT, environment
from app.ui.pages import PAGES
from app.ui.runs.actions import LABELS

FOLDERS = sorted({page.module.partition(".")[0] for page in PAGES})
"""One for each page or family of pages."""
MADE_ELSEWHERE = {"runs": set(LABELS) - {"clone"}, "styles": {"put"}}
"""What buttons of a page ask for that other modules make, or that follow from a run's state."""
MERGED = "components/merged_part.js"
TYPED_IN = ["pg-form"]
"""Parts that only answers to clicks change."""
ASKS = {"Button": 1, "Pick": 0}
"""Which argument says what is asked for."""
DOES_ITSELF = re.compile(r"dataset\.do === '([\w-]+)'\) return")
"""A script answers a button."""
SAYS = re.compile(r"\b(?:trigger|look)\('(\w+)'")
"""A script says something: `look` does for files that have come in."""
IMPORTS = re.compile(r"\bimport\('\./(\w+)\.js'\)")


def texts(page: str, suffix: str) -> Iterator[str]:
    return (path.read_text(encoding="utf-8") for path in sorted((ROOT / page).rglob(f"*{suffix}")))


def understood(page: str) -> set[str]:
    """What the events of a page may ask for."""
    found = vars(import_module(f"app.ui.{page}.events")).values()
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, PageEvent) and kind is not PageEvent]
    asked = [kind.model_fields["what"].annotation for kind in kinds if "what" in kind.model_fields]
    assert all(get_origin(each) is Literal for each in asked)
    return {name for each in asked for name in get_args(each)}


def offered(page: str) -> set[str]:
    """What the buttons of a page, and the questions before them, ask for."""
    found = set()
    for template in texts(page, ".html"):
        for name, choice in re.findall(r'data-(?:do|ask)="(?:([\w-]+)|{{(.*?)}})"', template):
            found |= {name} if name else set(re.findall(r'"([\w-]+)"', choice))
        for call in environment().parse(template).find_all(nodes.Call):
            place = {"button": 1, "dialog": 0}.get(getattr(call.node, "attr", ""))
            if place is not None and isinstance(asked := call.args[place], nodes.Const):
                found.add(asked.value)
    return found | set(_buttons(page))


def _buttons(page: str) -> Iterator[str]:
    """What is asked for by what a page's modules make."""
    for path in sorted((ROOT / page).rglob("*.py")):
        module = import_module(".".join(("app.ui", *path.relative_to(ROOT).with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (place := ASKS.get(getattr(node.func, "id", ""))) is not None:
                match node.args[place]:
                    case ast.Constant(value=name):
                        yield name
                    case ast.Name(id=name) if name.isupper():
                        yield getattr(module, name)
                    case _:
                        assert path.name == "actions.py", "what it asks for is for its own test to hold to the events"


@pytest.mark.parametrize("page", FOLDERS)
def test_every_button_is_understood(page: str) -> None:
    answered = {name for script in texts(page, ".js") for name in DOES_ITSELF.findall(script)}
    assert offered(page) and sorted(offered(page) - understood(page) - answered) == []


@pytest.mark.parametrize("page", FOLDERS)
def test_everything_that_is_understood_is_asked_by_somebody(page: str) -> None:
    said = {name for script in texts(page, ".js") for name in re.findall(r"'([\w-]+)'", script)}
    elsewhere = MADE_ELSEWHERE.get(page, set())
    assert sorted(understood(page) - offered(page) - said - elsewhere) == []
    assert sorted(elsewhere - understood(page)) == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    """All pages, as the server builds them."""
    from app.ui.server import build

    paths = Paths(tmp_path_factory.mktemp("studio") / "outputs")
    paths.make()
    uploads = UploadFolder(paths)
    services = open_services(paths, uploads.path)
    demo = build(services)
    services.close()
    uploads.close()
    return demo


def test_every_merged_part_is_kept_up_to_date_by_the_stream(demo: gr.Blocks) -> None:
    merged = {block for block in demo.blocks.values() if MERGED in (getattr(block, "js_on_load", "") or "")}
    refreshed = set[Any]()
    for function in demo.fns.values():
        if OUTDATED in [name for _, name in function.targets]:
            refreshed.update(function.outputs)
    assert len(merged) > 20
    forgotten = sorted(str(part.elem_id) for part in merged - refreshed)
    assert forgotten == TYPED_IN, "put them into the page's `LiveParts`, or its notice into `everything`"


def test_every_listener_hears_a_script_and_every_script_is_heard(demo: gr.Blocks) -> None:
    heard: dict[Any, set[str]] = {}
    for function in demo.fns.values():
        assert not function.queue or function.api_visibility == "public", "it would wait in Gradio's queue"
        for identifier, name in function.targets:
            heard.setdefault(identifier, set()).add(str(name))
    parts = {key: part for key, part in demo.blocks.items() if isinstance(part, gr.HTML)}
    lines = {key: CALLED.findall(part.js_on_load or "") for key, part in parts.items()}
    scripts = {key: read_scripts(*" ".join(names).split()) for key, names in lines.items()}
    later = {key: [script for name in IMPORTS.findall(text) for script in LATER[name]] for key, text in scripts.items()}
    said = {key: set(SAYS.findall(text + read_scripts(*later[key]))) for key, text in scripts.items()}
    assert sum(map(bool, said.values())) > 15
    deaf = {key: found for key in parts if (found := heard.get(key, set()) - said[key])}
    assert deaf == {}, "listeners for what no script of theirs says"
    assert set().union(*said.values()) - set().union(*heard.values()) == set(), "what nobody listens to"
    unwired = [parts[key].elem_id or key for key, names in said.items() if names and not heard.get(key)]
    assert unwired == [], "a part's buttons do nothing: wire it to its events"
