"""The tokenizer: the first merges of CLIP's ranked list, which are a valid byte-pair table of their own."""

from __future__ import annotations

import json
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

VOCABULARY = 8_192
BYTES = 512  # every byte, within a word and at its end
POSITIONS = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer() -> Any:
    """A `CLIPTokenizer` of `VOCABULARY` tokens."""
    from transformers import CLIPTokenizer

    source = files("trainers.models") / "configs" / "vocabulary"
    numbers = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
    by_rank = sorted(numbers, key=lambda token: int(numbers[token]))
    kept = VOCABULARY - 2
    vocabulary = {token: rank for rank, token in enumerate(by_rank[:kept])}
    vocabulary |= {START: kept, END: kept + 1}
    header, *merges = (source / "merges.txt").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        lines = [header, *merges[: kept - BYTES]]
        (Path(folder) / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return CLIPTokenizer(
            str(Path(folder) / "vocab.json"), str(Path(folder) / "merges.txt"), model_max_length=POSITIONS
        )


def whole_words(tokenizer: Any) -> list[str]:
    """The words that are one token, of three letters or more, in alphabetical order."""
    ending = "</w>"
    words = [token.removesuffix(ending) for token in tokenizer.get_vocab() if token.endswith(ending)]
    return sorted({word for word in words if len(word) > 2 and word.isascii() and word.isalpha()})
