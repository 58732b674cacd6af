"""A report of a run for developers: numbers, choices and program texts, without what people wrote, named or drew.

Words are kept only where the program chose them: choices among fixed values, templates of messages, phases. Free text,
such as errors of libraries, loses paths, quotations, addresses, tokens and everything that the run's settings contain.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.jobs.events.losses import Losses
from app.studio.settings.fields import find_field
from trainers.atomic_files import whole_file
from trainers.container import container_memory
from trainers.data.captions import caption_from_name
from trainers.regular_files import read_inside
from trainers.runs.event_lines import SAID, Event
from trainers.runs.events import latest_events

PACKAGES = (
    "velatura", "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "gradio", "pillow", "numpy",
    "bitsandbytes", "xformers", "pytorch-optimizer", "prodigyopt",
)  # fmt: skip
OPEN_KINDS = ("switch", "choice", "whole", "auto", "number", "numbers", "layers")
"""Kinds of settings whose values nobody has worded."""
OPEN_TEXTS = ("train.optimizer_args", "loss.timesteps")
"""Texts that the config limits to names and numbers of the program."""
OPEN_FIELDS = ("phase", "sampler", "precision", "method", "family", "cause", "code", "device")
"""Texts in events that the program chose."""
HIDDEN = "…"
MOST_LINES = 300
SHORTEST = 3
"""Letters of a private text that is searched for; shorter ones occur in every other word."""
LINE_OF_CODE = re.compile(r'File "(?:[^"]*[\\/])?((?:site-packages|trainers|app)[\\/][^"]+)"')
"""A source file in a traceback; group 1 is its path within the installation, which is kept."""
PRIVATE = re.compile(
    r""""[^"\n]*"|“[^”\n]*”|‘[^’\n]*’|'[^'\n]*'|\S+@\S+|\b(?:hf_|sk-)\w+|\b[\w-]{32,}\b|(?<!\S)(?!\d+/\d+|it/s|s/it)\S*[\\/]\S*"""
    r"""|\S+\.(?:png|jpe?g|webp|gif|bmp|tiff?|heic|avif|txt|toml|json|safetensors|ckpt|zip)\b""",
    re.IGNORECASE,
)


def read_report(folder: Path, owner: str = "") -> dict[str, str]:
    """The files of a report on the run of a person, by name."""
    settings, losses = _settings(folder), Losses(folder)
    losses.read()
    private = sorted(_private(folder, settings) | {owner} - {""}, key=len, reverse=True)
    return {
        "about.txt": "\n".join(f"{name}: {value}" for name, value in _machine().items()) + "\n",
        "settings.txt": "".join(f"{key} = {_shown(key, value, settings)}\n" for key, value in _flat(settings)),
        "events.txt": "".join(f"{line}\n" for line in _events(folder, private)),
        "log.txt": redacted(_tail(folder, "process.log"), private),
        "figures.csv": losses.numbers().as_csv(),
    }


def write_report(report: Mapping[str, str], place: Path) -> None:
    """Write a report as a ZIP."""
    with whole_file(place) as building, zipfile.ZipFile(building, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in report.items():
            packed.writestr(name, text)


def redacted(text: str, private: Iterable[str]) -> str:
    """Text without quotations, paths, file names, addresses, tokens and the private texts."""
    code: list[str] = []

    def keep(match: re.Match[str]) -> str:
        code.append(match[1].replace("\\", "/"))
        return f"\0{len(code) - 1}\0"

    text = PRIVATE.sub(HIDDEN, LINE_OF_CODE.sub(keep, text))
    for words in private:
        if words.lower() in text.lower():
            text = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
    return re.sub("\0(\\d+)\0", lambda match: f"File {code[int(match[1])]}", text)


def _machine() -> dict[str, Any]:
    import psutil
    import torch

    memory = container_memory()
    total = memory[0] if memory else int(psutil.virtual_memory().total)
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    about: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "processor cores": os.cpu_count(),
        "memory": f"{total / 1e9:.1f} GB",
        "graphics cards": ", ".join(cards) or "none",
    }
    for name in PACKAGES:
        try:
            about[name] = version(name)
        except PackageNotFoundError:
            continue
    return about


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_inside(folder, "config.toml").decode("utf-8", "replace"))
    except (OSError, ValueError):
        return {}


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and not prefix:
            yield from _flat(value, f"{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(key: str, value: Any, settings: Mapping[str, Any]) -> str:
    """A setting's value, or how long it is."""
    field = find_field(key, str(settings.get("method", {}).get("name", "lora")))
    if key == "method.name" or key in OPEN_TEXTS or (field is not None and field.kind in OPEN_KINDS):
        return json.dumps(value, ensure_ascii=False, default=str)
    return f"({len(str(value))} letters)" if value else "(empty)"


def _private(folder: Path, settings: Mapping[str, Any]) -> set[str]:
    """Texts of people: names, prompts, captions, files, folders."""
    texts = {folder.name, platform.node()}
    with suppress(KeyError, OSError, RuntimeError):  # in a container, a user may have no name and no home
        texts |= {getpass.getuser(), str(Path.home())}
    for key, value in _flat(settings):
        if _shown(key, value, settings).startswith("("):
            texts |= {str(part) for part in (value if isinstance(value, list) else [value])}
    for path in (folder / "dataset").glob("*"):
        texts |= {path.stem, caption_from_name(path.stem)}
        texts |= {read_inside(path.parent, path.name).decode("utf-8", "replace")} if path.suffix == ".txt" else set()
    return {text.strip() for text in texts if len(text.strip()) >= SHORTEST}


def _events(folder: Path, private: list[str]) -> Iterator[str]:
    """The latest events, with their seconds since the first."""
    events = latest_events(folder)
    for event in events[-MOST_LINES:]:
        fields = " ".join(f"{name}={value}" for name, value in event.items() if _is_open(name, value))
        seconds = event.get("time", 0) - events[0].get("time", 0)
        yield f"{seconds:.1f} {event['type']} {fields} {_said(event, private)}".rstrip()


def _is_open(name: str, value: Any) -> bool:
    if name in ("time", "type", SAID):
        return False
    return isinstance(value, bool | int | float) or value is None or name in OPEN_FIELDS


def _said(event: Event, private: list[str]) -> str:
    """An event's message as its template with numbers alone; a text without a template is redacted."""
    record = event.get(SAID)
    if isinstance(record, Mapping):
        placed = {str(place): value for place, value in enumerate(record.get("placed", ()))}
        values = {**placed, **record.get("named", {})}
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        return f"{record.get('template', '')} {numbers or ''}".rstrip()
    return redacted(str(event.get("message", "")), private)


def _tail(folder: Path, name: str) -> str:
    try:
        lines = read_inside(folder, name).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "".join(f"{line}\n" for line in lines[-MOST_LINES:])
