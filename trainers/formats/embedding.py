"""Textual-inversion embeddings in files: the tensor names of the known tools.

A1111, Forge, ComfyUI, InvokeAI and sd-scripts read `emb_params (n, d)` as the only tensor of a file for SD 1 and 2, and
`clip_l (n, 768)` with `clip_g (n, 1280)` for SDXL; diffusers writes `{token: (n, d)}`. Rows are written in fp32: they
take a few kilobytes and stay exactly as trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainers.adapters.tokens import Word
from trainers.errors import VelaturaError
from trainers.formats.safetensors_file import save
from trainers.models.words import CHUNK

WORD = "velatura.word"
"""Metadata key of the word, as in the training captions."""
LONGEST_WORD = 64
KEYS = {"emb_params": "text_encoder", "clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""The text encoder of each tensor."""
LEAST_WIDTH, EVEN = 128, 8
"""The smallest width of text encoders, and its divisor: 192 in the starter, 768 to 1280 elsewhere."""
EMBEDDING_SUFFIX = "-embedding"
"""End of the stem of an embedding that belongs to the style next to it."""


def embedding_tensors(word: Word) -> dict[str, Tensor]:
    """A word's rows by tensor name, on the CPU in fp32; VelaturaError if one is not finite."""
    rows = {part: values.detach().float().cpu().contiguous().clone() for part, values in word.rows.items()}
    if not all(bool(torch.isfinite(values).all()) for values in rows.values()):
        raise VelaturaError(
            "the word {text} is not finite, so it was not written; use an earlier checkpoint", text=word.text
        )
    if len(rows) == 1:
        return {"emb_params": rows["text_encoder"]}
    return {"clip_l": rows["text_encoder"], "clip_g": rows["text_encoder_2"]}


def write_embedding(path: Path, word: Word, metadata: Mapping[str, str]) -> None:
    """Write a word's rows to a file, atomically; raises VelaturaError as `write_style` does."""
    save(path, embedding_tensors(word), metadata)


def parts_in(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Tensor key by text encoder; empty if these are not the tensors of an embedding."""
    if shapes.keys() <= {"clip_l", "clip_g"} or shapes.keys() == {"emb_params"}:
        keys = {KEYS[key]: key for key in shapes}
    elif len(shapes) == 1:  # diffusers names the only tensor after its word
        keys = {"text_encoder": next(iter(shapes))}
    else:
        return {}
    matrices = [(1, *shape) if len(shape) == 1 else shape for shape in shapes.values()]  # (n, d)
    fits = all(len(shape) == 2 and 1 <= shape[0] <= CHUNK and shape[1] > 1 for shape in matrices)
    if not set(shapes) & set(KEYS):  # no known name, so the width must fit
        fits = fits and all(shape[1] >= LEAST_WIDTH and shape[1] % EVEN == 0 for shape in matrices)
    return keys if keys and fits and len({shape[0] for shape in matrices}) == 1 else {}


def rows_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows `(n, d)` of a file by text encoder; empty if it holds no embedding."""
    parts = parts_in({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    return {part: tensors[key].reshape(-1, tensors[key].shape[-1]) for part, key in parts.items()}


def words_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], stem: str) -> tuple[str, ...]:
    """Words for an embedding in prompts: the one in its metadata, else the file's stem and diffusers' token, if any.

    They are untrusted text.
    """
    written = metadata.get(WORD, "")
    if _is_word(written):
        return (written,)
    keys = [key for key in tensors if key not in KEYS and _is_word(key)]
    return tuple(dict.fromkeys((stem, *keys)))


def style_of_run(run: Path) -> Path | None:
    """The style file in a run's folder; None if it does not exist (yet)."""
    named = run / "style" / f"{run.name}.safetensors"
    if named.is_file():
        return named
    # The folder may have been renamed; files for diffusers and embeddings lie next to the style's file.
    files = {path.stem: path for path in (run / "style").glob("*.safetensors") if not path.name.startswith(".")}
    twins = {f"{stem}{end}" for stem in files for end in ("-diffusers", EMBEDDING_SUFFIX)}
    return max((path for stem, path in files.items() if stem not in twins), default=None)


def embedding_of(style: Path) -> Path | None:
    """The embedding trained together with a style; None if it does not exist."""
    path = embedding_path(style)
    return path if path.is_file() else None


def embedding_path(style: Path) -> Path:
    """The path of the embedding trained together with a style."""
    return style.with_name(f"{style.stem}{EMBEDDING_SUFFIX}{style.suffix}")


def describe_embedding_loading(path: Path, word: Word) -> str:
    """A sentence for users on loading and prompting the embedding in each tool."""
    stem, name = path.stem, path.name
    tools = (
        f"A1111, Forge, ComfyUI and InvokeAI load {name} from their embeddings folder, and a prompt calls it "
        f"`{stem}` (ComfyUI: `embedding:{stem}`)"
    )
    if len(word.rows) == 1:
        return (
            f'{tools}; in diffusers `pipe.load_textual_inversion("{name}", token="{word.text}")` does, as {word.text}.'
        )
    calls = (
        f'pipe.load_textual_inversion(rows["{key}"], token="{word.text}", text_encoder=pipe.text_encoder{end}, '
        f"tokenizer=pipe.tokenizer{end})"
        for key, end in (("clip_l", ""), ("clip_g", "_2"))
    )
    # With SDXL's published configs, transformers takes the highest token, here a new one, for the end of the text.
    end = "pipe.text_encoder_2.text_model.eos_token_id = pipe.tokenizer_2.eos_token_id"
    read = f'rows = safetensors.torch.load_file("{name}")'
    return f"{tools}; in diffusers `{'; '.join((end, read, *calls))}` does, and there it is called `{word.text}`."


def _is_word(text: str) -> bool:
    return 0 < len(text) <= LONGEST_WORD and text.isprintable() and not any(c.isspace() or c == "," for c in text)
