"""Downloads a file of a hub repository so that it can be resumed, and checks it.

The hub's client begins each file anew, and compares only its size. This module fills the `blobs` folder of the client's
cache; the client itself then makes the snapshot from it. A blob has the hash of its content as its name, SHA-256 for
large files and git's SHA-1 for the others, and gets this name only once its content has been compared with it.
"""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from trainers.errors import VelaturaError

CHUNK = 2**20
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Git's SHA-1, or SHA-256."""


def fetch_blob(model: str, name: str, revision: str, bar: Any) -> None:
    """Download the file `name` of a revision, from where an earlier download ended; `bar` is a class like `tqdm`.

    VelaturaError if its content is not what the hub announces. Raises the errors of the hub's client, too.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(model, name, revision=revision)
    facts = get_hf_file_metadata(url)
    if not HASH.fullmatch(facts.etag or "") or facts.size is None:  # else it could name any file, of any size
        raise VelaturaError("the hub gives {name} of {model} no usable hash; try again later", name=name, model=model)
    blob = blob_folder(model) / str(facts.etag)
    part = blob.with_name(f"{blob.name}.part")
    blob.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(blob.with_name(f"{blob.name}.lock")):
        if blob.is_file():
            return
        here = part.stat().st_size if part.is_file() else 0
        if here != facts.size:
            headers = build_hf_headers()
            if urlsplit(facts.location)[:2] != urlsplit(url)[:2]:
                headers.pop("authorization", None)  # the hub's token stays with the hub
            mode = "ab" if here < facts.size else "wb"
            with _BoundedFile(part, mode, facts.size) as file, suppress(EOFError):
                http_get(
                    facts.location,
                    file,
                    resume_size=file.tell(),
                    headers=headers,
                    expected_size=facts.size,
                    tqdm_class=bar,
                )
        _check(part, blob.name, model, name)
        part.replace(blob)


def part_size(model: str, digest: str) -> int:
    """Bytes that earlier downloads left of the unfinished file with this hash."""
    part = blob_folder(model) / f"{digest}.part"
    return part.stat().st_size if HASH.fullmatch(digest) and part.is_file() else 0


def blob_folder(model: str) -> Path:
    """The folder of a model's files in the hub's cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model, repo_type="model") / "blobs"


class _BoundedFile(io.BufferedWriter):
    """A file that takes no more than its announced size; EOFError if there is more."""

    def __init__(self, path: Path, mode: str, size: int) -> None:
        super().__init__(io.FileIO(path, mode))
        self._size = size

    def write(self, data: Any) -> int:
        room = self._size - self.tell()
        if len(data) > room:
            super().write(data[:room])
            raise EOFError
        return super().write(data)


def _check(part: Path, expected: str, model: str, name: str) -> None:
    """Delete the file and raise VelaturaError unless it has the expected hash."""
    digest = hashlib.sha256() if len(expected) == 64 else hashlib.sha1(b"blob %d\0" % part.stat().st_size)
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        part.unlink()
        raise VelaturaError(
            "{name} of {model} arrived damaged, so it was deleted; download it again", name=name, model=model
        )
