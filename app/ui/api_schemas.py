"""API values: validated input, plain output, errors with a code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import as_sentence
from app.jobs.accounts.limits import LimitError
from app.jobs.permissions import NotOwnerError
from app.language import translate
from app.studio.dataset.uploads import MOST_PICTURES, Upload
from app.studio.generation.options import NO_SWITCH, OPTIONS
from app.studio.generation.request import GenerateRequest, make_request
from app.studio.styles.entry import StyleEntry
from app.ui.components import text
from app.ui.components.errors import is_of_the_disk, reason
from app.ui.gradio_internals import file_address
from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.runs.event_lines import is_text

Answer = dict[str, Any]
TAKEN = (*(name for name, option in OPTIONS.items() if option.api), "axes", "sheet")
"""Options of a generation besides prompt and styles."""
MOST_TEXT, MOST_ENTRIES, DEEPEST = 10_000, 1000, 6
"""Limits on strings, table entries and nesting depth of input."""


def kindly(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Report expected errors to the caller; unexpected ones stay hidden."""

    @wraps(endpoint)
    def answering(*given: Any, **named: Any) -> Any:
        try:
            return endpoint(*given, **named)
        except RefusalError as refusal:
            raise gr.Error(_coded(refusal.message, refusal.code), print_exception=False) from refusal
        except NotOwnerError as error:
            raise gr.Error(_coded(as_sentence(error), "not_yours"), print_exception=False) from error
        except LimitError as error:
            raise gr.Error(_coded(as_sentence(error), "limit"), print_exception=False) from error
        except Exception as error:
            if is_of_the_disk(error):
                raise gr.Error(_coded(reason(error), "not_kept"), print_exception=False) from error
            if isinstance(error, VelaturaError):
                raise gr.Error(_coded(as_sentence(error), "refused"), print_exception=False) from error
            raise gr.Error(_coded(text.UNEXPECTED, "unexpected")) from error  # Gradio prints the traceback

    return answering


def listing_options(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Put the names of all options in place of `{options}` in the docstring, which clients show."""
    endpoint.__doc__ = (endpoint.__doc__ or "").format(options=", ".join(TAKEN))
    return endpoint


def _coded(sentence: str, code: str) -> str:
    """A sentence in the caller's language with its code in brackets."""
    return f"{translate(sentence)} [{code}]"


class RefusalError(VelaturaError):
    """An error with a sentence for people and a code for programs."""

    def __init__(self, code: str, sentence: str, **parameters: object) -> None:
        super().__init__(Message(sentence, **parameters) if parameters else sentence)
        self.code = code


def must(code: str, do: Callable[..., Any], *given: Any) -> Any:
    """Call `do` and give its errors a code."""
    try:
        return do(*given)
    except (RefusalError, NotOwnerError, LimitError):
        raise
    except VelaturaError as error:
        if is_of_the_disk(error):
            raise
        raise RefusalError(code, as_sentence(error)) from error


def uploads_of(files: Any) -> list[Upload]:
    """The uploaded files; anything else is refused."""
    uploads = []
    for file in files if isinstance(files, list) else [files]:
        path = file.get("path") if isinstance(file, dict) else getattr(file, "path", None)
        name = file.get("orig_name") if isinstance(file, dict) else getattr(file, "orig_name", None)
        if not isinstance(path, str):
            raise RefusalError("bad_path", "files must be uploads, made with handle_file(path).")
        uploads.append(Upload(Path(path), str(name or Path(path).name)))
    if len(uploads) > MOST_PICTURES:
        raise RefusalError(
            "too_many", "At most {most} files at once; found {number}.", most=MOST_PICTURES, number=len(uploads)
        )
    return uploads


def text_of(value: Any, name: str, most: int = MOST_TEXT) -> str:
    """Validate the string `name`, of limited length."""
    if not isinstance(value, str):
        raise RefusalError("bad_value", "{name} must be a string, not {value!r:.80}.", name=name, value=value)
    if len(value) > most:
        raise RefusalError(
            "bad_value",
            "{name} can have at most {most} characters; this one has {number}.",
            name=name,
            most=most,
            number=len(value),
        )
    if not is_text(value):
        raise RefusalError("bad_value", "{name} has half of a character, which cannot be stored.", name=name)
    return value


def table_of(value: Any, name: str) -> dict[str, Any]:
    """Validate the table `name`, of limited size."""
    if not isinstance(value, Mapping):
        raise RefusalError("bad_value", "{name} must be a table, not {value!r:.80}.", name=name, value=value)
    _check_size(value, name, DEEPEST)
    return dict(value)


def _check_size(value: Any, name: str, deepest: int) -> None:
    if isinstance(value, str):
        text_of(value, name)
    elif isinstance(value, Mapping | list):
        if not deepest or len(value) > MOST_ENTRIES:
            raise RefusalError(
                "bad_value",
                "{name} is too large: at most {most} entries, {deepest} levels deep.",
                name=name,
                most=MOST_ENTRIES,
                deepest=DEEPEST,
            )
        named = value.items() if isinstance(value, Mapping) else ((name, entry) for entry in value)
        for key, entry in named:
            _check_size(entry, text_of(key, name, 200) if isinstance(value, Mapping) else name, deepest - 1)


def texts_of(value: Any, name: str, most: int) -> list[str]:
    """Validate the list of strings `name`, of limited length."""
    if not isinstance(value, list) or len(value) > MOST_ENTRIES:
        raise RefusalError(
            "bad_value",
            "{name} must be a list of up to {most} strings, not {value!r:.80}.",
            name=name,
            most=MOST_ENTRIES,
            value=value,
        )
    return [text_of(text, name, most) for text in value]


def whole_of(value: Any, name: str) -> int:
    """Validate the integer `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise RefusalError("bad_value", "{name} must be a whole number, not {value!r:.80}.", name=name, value=value)
    return int(value)


def request_of(prompt: str, styles: Mapping[str, Any], options: Mapping[str, Any]) -> GenerateRequest:
    """The generation request of a call, with strengths by style id; FieldErrors for invalid values."""
    unknown = sorted(str(name) for name in set(options) - set(TAKEN))
    if unknown:
        raise VelaturaError(
            "there is no option {unknown!r:.80}; available are {options}",
            unknown=unknown[0],
            options=", ".join(TAKEN),
        )
    left_out = {
        name for name, value in options.items() if value == "" and name in OPTIONS and OPTIONS[name].may_be_empty
    }
    values = {name: value for name, value in options.items() if name not in left_out}
    sheet = values.pop("sheet", False)
    if not isinstance(sheet, bool):
        raise VelaturaError(NO_SWITCH.format("sheet", sheet))
    if values.get("each") is True and len(styles) == 1:  # that picture would equal the one of all styles
        values["each"] = False
    chosen_styles = [{"style": style, "strength": strength} for style, strength in styles.items()]
    compared = {"compare": False} if values.get("axes") else {}
    return make_request(prompts=(prompt,), styles=chosen_styles, **values | compared)


def in_plain(item: StyleEntry) -> Answer:
    """A style as an API value."""
    return {
        "id": item.id,
        "name": item.name,
        "words": list(item.words),
        "method": item.method,
        "base": item.base,
        "family": item.family,
        "bytes": item.size,
        "made": item.made,
        "run": item.run,
        "step": item.step,
        "note": item.about.note,
        "tags": list(item.about.tags),
    }


def file_of(path: Path) -> gr.FileData:
    """A public file for a client to download."""
    return gr.FileData(path=str(path.resolve()), orig_name=path.name, url=file_address(path))
