"""The model card of a published style, as Markdown with a YAML header."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import VelaturaError
from trainers.formats.inspect import StyleSummary, describe_style
from trainers.formats.programs.check import describe_programs
from trainers.formats.read import read_outline
from trainers.formats.training_metadata import settings_of
from trainers.formats.write.convert import is_plain
from trainers.models.families import find_family, known_licence
from trainers.models.families.family import Licence
from trainers.models.files.hub import HUB_ID

UNKNOWN = "unknown"
"""The hub's id of an unknown licence."""
TAG = "velatura"
"""Tag of all repositories published with Velatura."""
BEFORE_AFTER = "The same prompts and seeds before and after."
RECIPE = (
    ("optimizer steps", "ss_steps"),
    ("images", "ss_num_train_images"),
    ("batch size", "ss_batch_size_per_device"),
    ("resolution", "modelspec.resolution"),
    ("learning rate", "ss_learning_rate"),
    ("optimizer", "ss_optimizer"),
    ("seed", "ss_seed"),
)
"""Rows of the recipe, by key of the file's metadata."""
MARKS = re.compile(r"[\\`*_{}\[\]#|!~]")
"""Characters with a meaning in Markdown."""


@dataclass(frozen=True)
class Shown:
    """A picture of the card: index and text of its prompt, and its file in the repository."""

    row: int
    prompt: str
    file: str


@dataclass(frozen=True)
class CardFacts:
    """Facts that the style's file does not have."""

    name: str
    repository: str
    licence: str = ""
    step: int | None = None
    """The starred step, if the style is its snapshot."""
    how: str = ""
    """The text of `how-to-load.txt`."""


def write_card(style: Path, facts: CardFacts, shown: Sequence[Shown], grid: str) -> str:
    """The card for the style file `style` as published; `grid` is the picture before and after, if any."""
    summary = describe_style(style)
    base = _base_id(style)
    licence = facts.licence or summary.metadata.get("modelspec.license", "")
    header = _header(summary, facts, shown, base, licence)
    parts = (
        f"# {_plain(facts.name)}",
        *_introduction(summary, base),
        *_pictures(shown, grid),
        *_loading(style, summary, facts, base),
        *_recipe(summary, facts),
        *_terms(licence, known_licence(summary.base.family, base)),
    )
    body = "\n\n".join(parts)
    return f"---\n{header}\n---\n\n{body}\n"


def _base_id(style: Path) -> str:
    """The base's hub id in the file; empty for other bases."""
    base = settings_of(read_outline(style)).get("base")
    name = base.get("model") if isinstance(base, dict) else None
    return name if isinstance(name, str) and HUB_ID.fullmatch(name) and not Path(name).exists() else ""


def _header(summary: StyleSummary, facts: CardFacts, shown: Sequence[Shown], base: str, licence: str) -> str:
    from huggingface_hub import ModelCardData

    family = find_family(summary.base.family)
    tag = "" if family is None else family.hub_tag
    known: dict[str, Any] = {
        "widget": [{"text": picture.prompt or " ", "output": {"url": picture.file}} for picture in shown]
    }
    if summary.trained_words:
        known["instance_prompt"] = summary.trained_words[0]
    if base:
        known["base_model_relation"] = "adapter"
    is_id = licence == licence.lower() and " " not in licence
    if licence and not is_id:
        known["license_name"] = licence
    return ModelCardData(
        license=(licence if is_id else "other") or UNKNOWN,
        base_model=base or None,
        library_name="velatura" if summary.base.fits_only or summary.only_here else "diffusers",
        pipeline_tag="text-to-image",
        tags=["text-to-image", *([tag] if tag else []), "lora", "template:sd-lora", TAG],
        **{key: value for key, value in known.items() if value},
    ).to_yaml()


def _introduction(summary: StyleSummary, base: str) -> Iterator[str]:
    known = find_family(summary.base.family)
    family = "" if known is None else known.title
    about = summary.metadata.get("modelspec.description", "")
    if about:
        yield about.replace("<", "&lt;")  # Markdown without HTML
    on = base or summary.base.fits_only or summary.base.name or family
    yield f"A style for {family or 'Stable Diffusion'}, trained on {_plain(on)} with Velatura."
    if summary.trained_words:
        yield f"Trigger word: {_literal(summary.trained_words[0])}. Write it into the prompt."
    else:
        yield "It needs no trigger word."


def _pictures(shown: Sequence[Shown], grid: str) -> Iterator[str]:
    if grid:
        yield f"![{BEFORE_AFTER}]({grid})\n\n*{BEFORE_AFTER}*"
    if shown:
        yield "<Gallery />"


def _loading(style: Path, summary: StyleSummary, facts: CardFacts, base: str) -> Iterator[str]:
    yield "## How to load it"
    name = style.name
    if summary.base.fits_only or summary.only_here:
        only = f"it fits only the {summary.base.fits_only}" if summary.base.fits_only else "no other program applies it"
        yield f"With Velatura ({only}):"
        prompt = " ".join(", ".join((*summary.trained_words[:1], "a lighthouse")).split())
        command = ("velatura", "generate", "--style", name, "--prompt", prompt, "--out", "lighthouse.png")
        yield _code("sh", shlex.join(command))
        return
    if not (summary.programs or summary.vectors):
        yield " ".join(map(_plain, summary.notes)) or "It is not known which programs load it."
        return
    outline = read_outline(style)
    shapes = {key: tuple(tensor.shape) for key, tensor in outline.tensors.items()}
    if summary.vectors:
        file = _literal(name)
        yield f"Put {file} into the embeddings folder of ComfyUI, A1111, Forge or InvokeAI and write its word."
    else:
        text = describe_programs(_literal(name), shapes, summary.base.family)
        loads = _literal(f"<lora:{facts.name}:1>")
        yield f"{text[0].upper()}{text[1:]}. In the prompt of A1111 and Forge, {loads} loads it."
    twin = style.with_name(f"{style.stem}-diffusers.safetensors")
    readable = style if is_plain(outline) else twin if twin.is_file() and is_plain(read_outline(twin)) else None
    if readable is not None:
        yield "With diffusers:"
        yield _code("python", _diffusers(summary, facts.repository, readable.name, base))
    elif facts.how:
        yield facts.how.replace("<", "&lt;")


def _diffusers(summary: StyleSummary, repository: str, file: str, base: str) -> str:
    prompt = ", ".join((*summary.trained_words[:1], "a lighthouse"))
    return "\n".join((
        "import torch",
        "from diffusers import AutoPipelineForText2Image",
        "",
        f'pipe = AutoPipelineForText2Image.from_pretrained("{base or "PATH-OR-ID-OF-THE-BASE"}", '
        'torch_dtype=torch.float16).to("cuda")',
        f'pipe.load_lora_weights("{repository}", weight_name="{file}")',
        f"image = pipe({prompt!r}).images[0]",
    ))  # fmt: skip


def _recipe(summary: StyleSummary, facts: CardFacts) -> Iterator[str]:
    yield "## How it was trained"
    rows = [("method", summary.trained_as or summary.method)]
    if summary.rank is not None:
        low, high = summary.rank.smallest, summary.rank.largest
        rows.append(("rank", str(low) if low == high else f"{low} to {high}"))
    rows += [(title, summary.metadata[key]) for title, key in RECIPE if summary.metadata.get(key)]
    if facts.step is not None:
        rows.append(("state", f"as it was at step {facts.step}"))
    table = "\n".join(f"| {title} | {_plain(value)} |" for title, value in rows)
    yield f"| | |\n|---|---|\n{table}"
    yield "`velatura inspect` shows every setting, which the file holds."


def _terms(licence: str, of_base: Licence | None) -> Iterator[str]:
    yield "## Licence"
    yield _plain(licence) or "The author has named none, so ask before you use it for more than looking at it."
    if of_base is None:
        yield "The licence of the base applies too."
    else:
        yield f"The licence of the base applies too: [{_plain(of_base.name)}]({of_base.page}), {of_base.terms}."


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _plain(text: str) -> str:
    """Text on one line, with Markdown and HTML escaped."""
    return MARKS.sub(r"\\\g<0>", html.escape(" ".join(text.split()), quote=False))


def _literal(text: str) -> str:
    """Text as inline code."""
    line = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if "`" in line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def check_repository(repository: str) -> str:
    """The id in `hub:user/name` or `user/name`; VelaturaError if it is neither."""
    name = repository.removeprefix("hub:")
    if not HUB_ID.fullmatch(name):
        raise VelaturaError("{repository!r} is no place on the hub; write --to hub:user/name", repository=repository)
    return name
