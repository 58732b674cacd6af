"""The contract between the pages and their scripts: what one side says the other side understands, and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gradio as gr
import pytest
from jinja2 import nodes

from app.studio.paths import UploadFolder
from app.studio.queue import Queue
from app.studio.services import open_services
from app.ui.components.events import PageEvent
from app.ui.web.templates import ROOT, environment

PAGES = ("playground",)
SAYS = re.compile(r"\b(?:trigger|look)\('(\w+)'")
"""A script says something: `look` does for files that have come in."""


def texts(page: str, suffix: str) -> Iterator[str]:
    return (path.read_text(encoding="utf-8") for path in sorted((ROOT / page).glob(f"*{suffix}")))


def understood(page: str) -> set[str]:
    """What the events of a page may ask for."""
    found = vars(import_module(f"app.ui.{page}.events")).values()
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, PageEvent) and kind is not PageEvent]
    asked = [kind.model_fields["what"].annotation for kind in kinds if "what" in kind.model_fields]
    assert all(get_origin(each) is Literal for each in asked)
    return {name for each in asked for name in get_args(each)}


def offered(page: str) -> set[str]:
    """What the buttons of a page ask for."""
    found = set()
    for template in texts(page, ".html"):
        found |= set(re.findall(r'data-do="([^"]*)"', template))
        calls = environment().parse(template).find_all(nodes.Call)
        buttons = [call for call in calls if getattr(call.node, "attr", "") == "button"]
        found |= {call.args[1].as_const() for call in buttons}
    return found | set(_buttons(page))


def _buttons(page: str) -> Iterator[str]:
    """What the `Button`s ask for that a page's modules make."""
    for path in sorted((ROOT / page).glob("*.py")):
        module = import_module(f"app.ui.{page}.{path.stem}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Button":
                match node.args[1]:
                    case ast.Constant(value=name):
                        yield name
                    case ast.Name(id=name) if name.isupper():
                        yield getattr(module, name)


@pytest.mark.parametrize("page", PAGES)
def test_every_button_is_understood(page: str) -> None:
    assert offered(page) and sorted(offered(page) - understood(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_everything_that_is_understood_is_asked_by_somebody(page: str) -> None:
    said = {name for script in texts(page, ".js") for name in re.findall(r"'([\w-]+)'", script)}
    assert sorted(understood(page) - offered(page) - said) == []


def test_every_listener_hears_a_script_and_every_script_is_heard(queue: Queue) -> None:
    from app.ui.server import build

    uploads = UploadFolder(queue.paths)
    services = open_services(queue.paths, uploads.path)
    demo = build(services)
    services.close()
    uploads.close()
    heard: dict[Any, set[str]] = {}
    for function in demo.fns.values():
        for identifier, name in function.targets:
            heard.setdefault(identifier, set()).add(str(name))
    parts = {key: part for key, part in demo.blocks.items() if isinstance(part, gr.HTML)}
    said = {key: set(SAYS.findall(part.js_on_load or "")) for key, part in parts.items()}
    assert sum(map(bool, said.values())) > 15
    deaf = {key: found for key in parts if (found := heard.get(key, set()) - said[key])}
    assert deaf == {}, "listeners for what no script of theirs says"
    assert set().union(*said.values()) - set().union(*heard.values()) == set(), "what nobody listens to"
