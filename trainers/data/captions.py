"""An image's caption: its text file, a template or its name, and the variant for each sample."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from trainers.config.sections import Data
from trainers.data.decode import UnreadableError, leaves_folder

MAX_CAPTION_BYTES = 64 * 1024
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

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
    """The text of an image's `.txt` file on one line; None if there is no such file.

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
    return one_line(_decoded(raw))


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
    """An image's caption without trigger word: its own, otherwise the template, otherwise its name, otherwise ""."""
    caption = own_caption(image_path)
    if caption is not None:
        return caption
    name = caption_from_name(image_path.stem)
    if settings.caption:
        return one_line(settings.caption.replace("{name}", name)).strip(" ,")
    return name


def full_caption(base: str, settings: Data, word: str = "") -> str:
    """The caption with trigger word and learned word in front, if it does not have them already."""
    trigger = one_line(settings.trigger)
    if trigger and not _starts_with(base, trigger):
        base = f"{trigger}, {base}" if base else trigger
    return with_word(base, word)


def with_word(caption: str, word: str) -> str:
    """The caption with a word in front, if it does not have it already; unchanged if the word is empty."""
    from trainers.models.words import contains_word

    if not word or contains_word(caption, word):
        return caption
    return f"{word}, {caption}" if caption else word


def draw_caption(base: str, settings: Data, seed: int, draw: int, image: int, word: str = "") -> str:
    """The caption of a sample: dropped, or with shuffled tags, trigger word and learned word in front.

    A pure function of its arguments; `draw` numbers the draws of a run, `image` the images.
    """
    import torch

    from trainers.randomness import generator

    chance = torch.rand((), generator=generator(seed, "caption dropout", draw, image)).item()
    if chance < settings.caption_dropout:
        return ""
    if settings.shuffle_tags:
        tags = [tag for part in base.split(",") if (tag := part.strip())]
        # If the first tag is the trigger, it stays first and does not count towards `keep_tags`.
        has_trigger = bool(settings.trigger) and _starts_with(base, one_line(settings.trigger))
        keep = min(settings.keep_tags + has_trigger, len(tags))
        order = torch.randperm(len(tags) - keep, generator=generator(seed, "tag order", draw, image)).tolist()
        base = ", ".join(tags[:keep] + [tags[keep + index] for index in order])
    return full_caption(base, settings, word)


def varies(settings: Data) -> bool:
    """Whether captions vary other than by dropout, which makes a cache useless."""
    return settings.shuffle_tags


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
