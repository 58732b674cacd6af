"""The forms of the studio's documents."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request

Form = Mapping[str, list[str]]
"""The fields of a form; those of a table come once for each row."""


async def read_form(request: Request, most: int = 10) -> Form | None:
    """The form of a request with at most so many fields; None if it has files or text that nothing could store."""
    try:
        sent = await request.form(max_files=0, max_fields=most)
        form = {key: [str(value) for value in sent.getlist(key)] for key in sent}
        "".join(value for values in form.values() for value in values).encode()  # not with lone surrogates
    except (HTTPException, UnicodeError):
        return None
    return form


def value_of(form: Form, key: str) -> str:
    """The first field of this name; "" without one."""
    return next(iter(form.get(key, ())), "")
