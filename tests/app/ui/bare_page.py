"""A page in a browser without Gradio and without a server: its scripts call the handlers in the test's process.

It costs a fraction of a page of a studio, and the test decides which answers arrive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import gradio as gr

from app.studio.services import Services
from app.ui.document.assets import LATER, join_later, join_scripts, join_sheets
from tests.app.ui.visitor import PATIENCE, SIZE
from tests.waiting import wait_until

ADDRESS = "http://bare.test/"
REQUEST: Any = SimpleNamespace(username="ann", cookies={}, session_hash="a page", query_params={})
"""A request of the visitor, as handlers get it."""
BEGIN = """([script, parts]) => {
    (0, eval)(script.replace('const studio', 'studio'));
    const begun = {};
    window.put = values => {
        for (const [id, value] of Object.entries(values)) {
            begun[id].props.value = value;
            begun[id].heard.forEach(hear => hear());
        }
    };
    for (const {id, props, call} of parts) {
        const part = (begun[id] = {props, heard: []});
        const trigger = async (event, data) => put(await answer(id, event, data));
        const watch = (_, hear) => part.heard.push(hear);
        new Function('studio', 'element', 'trigger', 'props', 'server', 'upload', 'watch', call)(
            studio, document.getElementById(id), trigger, props, null, null, watch);
    }
}"""
Build = Callable[[Services, gr.Blocks], None]


class BarePage:
    """What `build` lays out, for one visitor; `open` loads it in a tab.

    While it is `away`, nothing is answered. `sent` holds the events of its scripts.
    """

    def __init__(self, tab: Any, build: Build, services: Services) -> None:
        self.tab, self.services, self.away = tab, services, False
        self.sent: list[tuple[str, dict[str, Any]]] = []
        with gr.Blocks() as self._demo:
            build(services, self._demo)
        self._parts = [part for part in self._demo.blocks.values() if isinstance(part, gr.HTML) and part.elem_id]

    def open(self, other: Any = None) -> Any:
        """Load or reload the page in the visitor's tab, or in another one."""
        page = other or self.tab
        page.goto(ADDRESS)
        values = self._called("load", "", {})
        parts = [
            {"id": part.elem_id, "call": part.js_on_load or "", "props": _plain(part.props | {"value": part.value})}
            for part in self._parts
        ]
        for part in parts:
            part["props"]["value"] = values.get(part["id"], part["props"]["value"])
        page.evaluate(BEGIN, [join_scripts(part["call"] for part in parts), parts])
        return page

    def await_event(self, event: str, name: str, value: Any) -> None:
        """Wait until its scripts have sent an event with this value."""

        def look() -> bool:
            self.tab.evaluate("0")  # lets the scripts' calls arrive
            return any(sent == event and data.get(name) == value for sent, data in self.sent)

        wait_until(look, lambda: str(self.sent))

    def serve(self, route: Any) -> None:
        """Send the frames of the parts, and the scripts that they import."""
        later = LATER.get(route.request.url.removeprefix(ADDRESS).removesuffix(".js"))
        if later is not None:
            route.fulfill(body=join_later(later), content_type="text/javascript")
            return
        if route.request.url != ADDRESS:
            route.abort()
            return
        frames = "".join(
            f'<div id="{part.elem_id}" class="html-container">{part.html_template}</div>' for part in self._parts
        )
        head = f"<!doctype html><html lang='en'><meta charset='utf-8'><style>{join_sheets()}</style>"
        body = f"{head}<body><div class='gradio-container'>{frames}</div></body></html>"
        route.fulfill(body=body, content_type="text/html")

    def answer(self, part: str, event: str, data: dict[str, Any]) -> dict[str, Any]:
        """What a part's event changes: the new values by part."""
        self.sent.append((event, data))
        return {} if self.away else self._called(event, part, data)

    def _called(self, event: str, part: str, data: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for each in self._demo.fns.values():
            for target, name in each.targets:
                if name != event or (part and getattr(self._demo.blocks[target], "elem_id", None) != part):
                    continue
                given = [REQUEST, *([SimpleNamespace(_data=data)] if part else []), *([""] * len(each.inputs))]
                shown = each.fn(*given)
                changed = shown if isinstance(shown, dict) else {each.outputs[0]: shown}
                values |= {key.elem_id: _plain(value) for key, value in changed.items() if getattr(key, "elem_id", "")}
        return values


def _plain(value: Any) -> Any:
    """A value as it arrives in a browser."""
    return json.loads(json.dumps(value, default=str))


class BareTab:
    """One tab for the visitors of bare pages, who come one after the other."""

    def __init__(self, browser: Any) -> None:
        self.context = browser.new_context(viewport=SIZE)
        self.context.set_default_timeout(PATIENCE)
        self._page, self._shown = self.context.new_page(), list[BarePage]()
        self.context.route(f"{ADDRESS}**", lambda route: self._shown[-1].serve(route))
        self.context.expose_function("answer", lambda *given: self._shown[-1].answer(*given))

    @contextmanager
    def visit(self, build: Build, services: Services) -> Iterator[BarePage]:
        """A page for a new visitor, not loaded yet."""
        self._shown.append(BarePage(self._page, build, services))
        yield self._shown[-1]
        self._page.unroute_all()
        for other in self.context.pages[1:]:
            other.close()
        self._page.evaluate("localStorage.clear(), sessionStorage.clear()")
