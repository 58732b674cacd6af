"""An image's caption: its text file, a template or its name, and the variant for each sample."""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.config.sections import Data
from trainers.data.decode import UnreadableError, leaves_folder

if TYPE_CHECKING:
    import torch

MAX_CAPTION_BYTES = 64 * 1024
MOST_WRITTEN_OUT = 64
"""Number of texts into which the wildcards of alternative captions are written out."""
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

WILDCARD = re.compile(r"(?<!\{)\{([^{}]*)\}(?!\})")
NUMBERED = re.compile(r"^\d{4,}-(?=.)")
COPY = re.compile(r"\s*\(\d+\)\s*$")
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
HASH = re.compile(r"(?=[a-f]*\d)[0-9a-f]{8,}", re.IGNORECASE)
# Words that cameras, phones, messengers and browsers put into file names.
EMPTY_WORD = re.compile(
    r"(?:img|image|imag|dsc[nf]?|dcim|pxl|mvimg|gopr|photo|picture|pic|scan|screenshot|screen|shot|whatsapp|signal|"
    r"telegram|snapchat|vid|frame|file|copy|download|untitled|unnamed|at|am|pm|wa)?\d*",
    re.IGNORECASE,
)


def own_caption(image_path: Path) -> str | None:
    """The text of an image's `.txt` file on one line; None if there is no such file. Errors as `caption_lines`."""
    lines = caption_lines(image_path)
    return None if lines is None else " ".join(lines)


def caption_lines(image_path: Path) -> tuple[str, ...] | None:
    """The lines with text of an image's `.txt` file; None if there is no such file.

    Reads UTF-8 with or without a byte order mark, UTF-16 with one, and anything else as Latin-1. Raises UnreadableError
    if the file is too large for a caption, has NUL bytes or is a link out of the folder.
    """
    path = next((text for suffix in (".txt", ".TXT") if (text := image_path.with_suffix(suffix)).is_file()), None)
    if path is None:
        return None
    if leaves_folder(path):
        raise UnreadableError(
            image_path.name,
            "{name} has a caption {caption} that is a link to a file outside the folder",
            caption=path.name,
        )
    with path.open("rb") as file:
        raw = file.read(MAX_CAPTION_BYTES + 1)
    if len(raw) > MAX_CAPTION_BYTES:
        raise UnreadableError(
            image_path.name,
            "{name} has a caption {caption} longer than {limit} KiB",
            caption=path.name,
            limit=MAX_CAPTION_BYTES // 1024,
        )
    if b"\0" in raw and not raw.startswith(UTF16_MARKS):
        raise UnreadableError(
            image_path.name, "{name} has a caption {caption} that is not text: save it as UTF-8", caption=path.name
        )
    return tuple(line for text in _decoded(raw).splitlines() if (line := one_line(text)))


def caption_from_name(stem: str) -> str:
    """A file name as words; "" for meaningless names: `IMG_1234`, hashes, UUIDs, numbers.

    The number that `ingest` prepends (`0001-`) is removed.
    """
    stem = unicodedata.normalize("NFC", stem)
    stem = UUID.sub(" ", COPY.sub("", NUMBERED.sub("", stem)))
    # Letters with their marks and digits of any script; commas separate tags, apostrophes belong to words.
    kept = "".join(c if c in ",'" or unicodedata.category(c)[0] in "LMN" else " " for c in stem)
    kept = re.sub(r"\s*,[\s,]*", ", ", kept).strip(" ,'")
    words = [word for word in kept.split() if not HASH.fullmatch(word.strip(",'"))]
    if all(EMPTY_WORD.fullmatch(word.strip(",'")) for word in words):
        return ""
    return " ".join(words).strip(" ,'")


def base_caption(image_path: Path, settings: Data) -> str:
    """An image's caption without trigger word: its own, otherwise the template, otherwise its name, otherwise "".

    With `data.wildcards` the first alternative.
    """
    return expand(base_captions(image_path, settings)[0], settings)


def base_captions(image_path: Path, settings: Data) -> tuple[str, ...]:
    """An image's alternative captions without trigger word, with their wildcards; only one without `data.wildcards`."""
    lines = caption_lines(image_path)
    if lines is not None:
        return (lines or ("",)) if settings.wildcards else (" ".join(lines),)
    return (_without_file(image_path, settings),)


def _without_file(image_path: Path, settings: Data) -> str:
    name = caption_from_name(image_path.stem)
    if settings.caption:
        return one_line(settings.caption.replace("{name}", name)).strip(" ,")
    return name


def expand(caption: str, settings: Data, draw: torch.Generator | None = None) -> str:
    """A caption with one part of each `{a|b}`: a random one, or the first; `{{` and `}}` are braces of the text.

    Unchanged without `data.wildcards`.
    """
    import torch

    if not settings.wildcards:
        return caption

    def choose(group: re.Match[str]) -> str:
        parts = group[1].split("|")
        place = 0 if draw is None else int(torch.randint(len(parts), (), generator=draw))
        return parts[place].strip()

    return one_line(WILDCARD.sub(choose, caption).replace("{{", "{").replace("}}", "}"))


def count_alternatives(captions: Sequence[str]) -> int:
    """The number of texts that these captions with wildcards may become, at most."""
    return sum(math.prod(len(group[1].split("|")) for group in WILDCARD.finditer(caption)) for caption in captions)


def as_wildcard(captions: Sequence[str]) -> str:
    """Alternative captions as a single one, `{a|b}`, with the wildcards within them written out.

    Of captions with too many texts, only the first text is kept.
    """
    if len(captions) < 2:
        return "".join(captions)
    most = None if count_alternatives(captions) <= MOST_WRITTEN_OUT else 1
    return "{" + "|".join(text for caption in captions for text in _written_out(caption, most)) + "}"


def _written_out(caption: str, most: int | None) -> list[str]:
    """The texts that a caption with wildcards may become, with at most so many parts of each wildcard."""
    group = WILDCARD.search(caption)
    if group is None:
        return [caption.replace("{{", "").replace("}}", "").replace("|", "/")]
    before, after = caption[: group.start()], caption[group.end() :]
    parts = group[1].split("|")[:most]
    return [text for part in parts for text in _written_out(before + part.strip() + after, most)]


def full_caption(base: str, settings: Data, word: str = "") -> str:
    """The caption with trigger word and learned word in front, if it does not have them already."""
    trigger = one_line(settings.trigger)
    if trigger and not _starts_with(base, trigger):
        base = f"{trigger}, {base}" if base else trigger
    return with_word(base, word)


def with_class(caption: str, settings: Data, prompt: str) -> str:
    """A sample's caption with a class prompt in place of the trigger word; "" stays."""
    trigger = one_line(settings.trigger)
    return prompt + caption[len(trigger) :] if caption and _starts_with(caption, trigger) else caption


def with_word(caption: str, word: str) -> str:
    """The caption with a word in front, if it does not have it already; unchanged if the word is empty."""
    from trainers.models.words import contains_word

    if not word or contains_word(caption, word):
        return caption
    return f"{word}, {caption}" if caption else word


def draw_caption(captions: Sequence[str], settings: Data, seed: int, draw: int, image: int, word: str = "") -> str:
    """Draw a sample's caption: empty, or one alternative, whose tags are shuffled and dropped, after its trigger words.

    A pure function of its arguments; `draw` numbers the draws of a run, `image` the images.
    """
    import torch

    from trainers.randomness import generator

    chance = torch.rand((), generator=generator(seed, "caption dropout", draw, image)).item()
    if chance < settings.caption_dropout:
        return ""
    base = captions[0]
    if settings.wildcards:
        choice = generator(seed, "caption", draw, image)
        base = expand(captions[int(torch.randint(len(captions), (), generator=choice))], settings, choice)
    if settings.shuffle_tags or settings.tag_dropout:
        tags = [tag for part in base.split(",") if (tag := part.strip())]
        # If the first tag is the trigger, it stays first and does not count towards `keep_tags`.
        has_trigger = bool(settings.trigger) and _starts_with(base, one_line(settings.trigger))
        keep = min(settings.keep_tags + has_trigger, len(tags))
        rest = tags[keep:]
        if settings.shuffle_tags:
            order = torch.randperm(len(rest), generator=generator(seed, "tag order", draw, image)).tolist()
            rest = [rest[index] for index in order]
        if settings.tag_dropout:
            stays = torch.rand(len(rest), generator=generator(seed, "tag dropout", draw, image)) >= settings.tag_dropout
            rest = [tag for tag, kept in zip(rest, stays.tolist(), strict=True) if kept]
        base = ", ".join(tags[:keep] + rest)
    return full_caption(base, settings, word)


def varies(settings: Data) -> bool:
    """Whether captions vary other than by dropout, so that a cache of their embeddings may grow without end."""
    return settings.shuffle_tags or settings.tag_dropout > 0 or settings.wildcards


def one_line(text: str) -> str:
    """Text with runs of white space and control characters collapsed to one space, stripped."""
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text).split())


def _decoded(raw: bytes) -> str:
    if raw.startswith(UTF16_MARKS):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _starts_with(caption: str, trigger: str) -> bool:
    """Whether the caption starts with the trigger as a whole word."""
    start, rest = caption[: len(trigger)], caption[len(trigger) :]
    return start.casefold() == trigger.casefold() and not rest[:1].isalnum()
