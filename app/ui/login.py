"""The page on which a person says who they are."""

from __future__ import annotations

import json
from functools import cache

from app.ui import words
from app.ui.document import bare_page
from app.ui.html import static_text, text


@cache
def login_page() -> str:
    """The whole document: a form that stays on the page and says in words what was wrong."""
    field = '<label for="{0}">{1}</label><input id="{0}" name="{0}" type="{2}" autocomplete="{3}" required>'
    name = field.format("username", text(words.LOGIN_NAME), "text", "username")
    password = field.format("password", text(words.LOGIN_PASSWORD), "password", "current-password")
    script = static_text("login.js").replace("NO_ANSWER", json.dumps(words.NO_ANSWER))
    form = f'<form>{name}{password}<p role="alert"></p><button>{text(words.LOGIN_GO)}</button></form>'
    return bare_page(words.LOGIN_TITLE, f"{form}<script>{script}</script>")
