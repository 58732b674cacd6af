"""Downloads bases from the hub: only required files in safe formats."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainers.errors import VelaturaError
from trainers.messages import Message
from trainers.models.files.blob import fetch_blob, part_size
from trainers.models.files.hub import DENOISERS, HUB_ID, OPTIONAL, cached_snapshot
from trainers.models.files.other_bases import INDEXES, other_by_index, other_by_name

Progress = Callable[[int, int], None]
"""Called with the bytes downloaded and the total."""

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
PARTS = (*DENOISERS, "vae", *ENCODERS, "tokenizer", "tokenizer_2", "tokenizer_3", "scheduler")
SPARE = 2**28
"""Bytes that a download leaves free on the disk."""


def download_model(model: str, progress: Progress | None = None, complete: bool = False) -> Path:
    """Download the base with the hub id `model` into the local cache and return its folder.

    Skips optional text encoders unless `complete`: T5 of SD 3 is larger than all other parts. VelaturaError, with
    advice, without a network, for unknown or gated ids, for pickles and for a full disk.
    """
    check_id(model)
    offline = Message(
        "{model} is not on this machine and there is no network: run `velatura models get {model}` on a network, or "
        "copy its diffusers folder or .safetensors checkpoint here and use that path as the base",
        model=model,
    )
    request = DownloadRequest(
        model, lambda sizes: needed_files(model, sizes, complete), offline, check=partial(_check_index, model)
    )
    folder = fetch_files(request, progress)
    if cached_snapshot(model) is None:
        raise VelaturaError(
            "the download of {model} is incomplete; run `velatura models get {model}` again", model=model
        )
    return folder


COMMON = 7
"""Letters up to which a name, such as Lens and Mochi, is also that of other kinds of bases."""


def check_id(model: str) -> None:
    """Raise VelaturaError if `model` is not a hub id, or names a base that Velatura does not train."""
    if not HUB_ID.fullmatch(model):
        raise VelaturaError("{model!r} is not a hub id; ids look like `owner/name`", model=model)
    other = other_by_name([model.rpartition("/")[2]])
    if other and len(other.name) > COMMON:  # the index decides on the others
        raise other.refuse_base(model)


class OfflineError(VelaturaError):
    """The hub cannot be reached."""


class NeedsTokenError(VelaturaError):
    """The hub requires a login for a model."""


@dataclass(frozen=True)
class DownloadRequest:
    """Files of a hub repository: `choose` selects them by name and size; `offline` is the error without a network.

    `check` is called with the folder once the first file is there, before the others are downloaded.
    """

    model: str
    choose: Callable[[dict[str, int]], list[str]]
    offline: str
    revision: str | None = None
    check: Callable[[Path], None] | None = None


def fetch_files(request: DownloadRequest, progress: Progress | None = None) -> Path:
    """Download files of a repository into the local cache and return their folder; raises as `download_model` does."""
    from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    model, revision = request.model, request.revision
    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        names = request.choose(sizes)
        here = {name for name in names if isinstance(try_to_load_from_cache(model, name, revision=info.sha), str)}
        total, before = sum(sizes[name] for name in names), 0
        hashes = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in info.siblings or []}
        missing = sum(sizes[name] - part_size(model, hashes[name] or "") for name in names if name not in here)
        _check_room(model, missing, Path(constants.HF_HUB_CACHE))
        silent = _bar(None, total, 0)
        for name in names:
            if name not in here:
                fetch_blob(model, name, info.sha or "main", _bar(progress, total, before))
            before += sizes[name]
            if request.check is not None and name == names[0]:
                request.check(
                    Path(snapshot_download(model, revision=revision, allow_patterns=[name], tqdm_class=silent))
                )
        return Path(snapshot_download(model, revision=revision, allow_patterns=names, tqdm_class=silent))
    except HfHubHTTPError as error:
        raise _refusal(model, error) from error
    except (HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise OfflineError(request.offline) from error
    except OSError as error:
        raise VelaturaError(
            "could not write {model} to {hf_hub_cache}: {reason}",
            model=model,
            hf_hub_cache=constants.HF_HUB_CACHE,
            reason=error.strerror or error,
        ) from error


def needed_files(model: str, names: Iterable[str], complete: bool = False) -> list[str]:
    """The files of a repository that a base in diffusers layout needs: configs, tokenizers, safetensors.

    Takes fp16 variants only if there are no others, and optional text encoders only if `complete`. VelaturaError if the
    repository is not such a base or has only pickles.
    """
    names = sorted(names)
    needed = [name for name in INDEXES if name in names][:1]
    if not needed:
        raise _no_index(model)
    for part in (name for name in PARTS if complete or name not in OPTIONAL):
        inside = [name for name in names if name.startswith(f"{part}/") and name.count("/") == 1]
        needed += [name for name in inside if name.endswith((".json", ".txt", ".model")) and ".index." not in name]
        weights = [name for name in inside if ".safetensors" in name]
        plain = [name for name in weights if _variant(name) is None]
        needed += plain or [name for name in weights if _variant(name) == "fp16"]
        if not weights and any(name.endswith((".bin", ".ckpt")) for name in inside):
            raise VelaturaError(
                "{model} has its {part} only as pickles, which can run code when opened; choose a repository "
                "with .safetensors weights",
                model=model,
                part=part,
            )
    if not any(name.startswith(tuple(f"{denoiser}/" for denoiser in DENOISERS)) for name in needed):
        raise VelaturaError("{model} has neither a UNet nor a transformer, so it is not a base", model=model)
    return needed


def _no_index(model: str) -> VelaturaError:
    return VelaturaError("{model} is not a base in diffusers layout: it has no model_index.json", model=model)


def _check_index(model: str, folder: Path) -> None:
    """Raise VelaturaError if Velatura does not train the kind of base in a folder's index."""
    if other := other_by_index(folder):
        raise other.refuse_base(model)
    if not (folder / INDEXES[0]).is_file():
        raise _no_index(model)


def _variant(name: str) -> str | None:
    # diffusion_pytorch_model.fp16.safetensors, model.fp16-00001-of-00002.safetensors, model.safetensors.index.fp16.json
    words = name.rpartition("/")[2].replace("-", ".").split(".")
    return next((word for word in words if word in ("fp16", "bf16", "ema", "non_ema", "openvino_model")), None)


def _check_room(model: str, total: int, cache: Path) -> None:
    folder = cache.expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if total + SPARE > free:
        raise VelaturaError(
            "{model} needs {total:.1f} GB in {cache}, where {free:.1f} GB are free; free some space, or set "
            "the environment variable HF_HOME to a folder on another disk",
            model=model,
            total=total / 1000000000.0,
            cache=cache,
            free=free / 1000000000.0,
        )


def _refusal(model: str, error: Any) -> VelaturaError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    unknown = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
    if error.response.status_code in (401, 403) and not unknown:
        return NeedsTokenError(
            "{model} is gated: accept its terms on https://huggingface.co/{model}, log in once with `hf auth login`, "
            "and run `velatura models get {model}` again",
            model=model,
        )
    if unknown:
        return NeedsTokenError(
            "the hub has no model {model} (or it is private: log in once with `hf auth login`); check the spelling",
            model=model,
        )
    return VelaturaError(
        "the hub refused {model} (status {status_code}); try again later",
        model=model,
        status_code=error.response.status_code,
    )


def _bar(progress: Progress | None, total: int, before: int) -> Any:
    """A progress-bar class without display that reports bytes to `progress`, including those downloaded `before`."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.unit == "B" and progress is not None:
                progress(min(before + int(self.n), total), total)
            return shown

    return Bar
