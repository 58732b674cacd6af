"""The web app manifest, with which browsers install the studio as an app."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from app.language import translate
from app.ui.components import text
from app.ui.document.assets import asset

MANIFEST = "/manifest.json"
"""The address that Gradio's pages link to."""
WALL = "#eff2ef"
"""`--wall` of `tokens.css`, the background of every page."""
SIZES = (192, 512)
"""Sides of the icons in pixels."""


def manifest_route() -> BaseRoute:
    """The route of the manifest."""
    return Route(MANIFEST, _answer)


def _answer(_: Request) -> Response:
    drawn = [{"src": asset("icon.svg"), "sizes": "any", "type": "image/svg+xml"}]
    icons = [
        {"src": asset(f"icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": "any maskable"}
        for size in SIZES
    ]
    content = {
        "id": "./",
        "name": text.PRODUCT,
        "short_name": text.PRODUCT,
        "description": translate(text.WHAT_IT_DOES),
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": WALL,
        "theme_color": WALL,
        "icons": icons + drawn,
    }
    return JSONResponse(content, headers={"cache-control": "no-cache"}, media_type="application/manifest+json")
