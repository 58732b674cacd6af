"""The training pictures of a run, those nearest to a prompt first, as the training cuts them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app.jobs.actions import pictures_of
from app.studio.dataset.previews import LARGE_SIDE, save_preview
from trainers.config.config import Config
from trainers.data.captions import base_caption
from trainers.errors import VelaturaError
from trainers.runs.run import Run


def count_pictures(run: Path) -> int:
    """The number of training pictures of a run; 0 if they no longer exist."""
    with suppress(VelaturaError):
        return len(pictures_of(run))
    return 0


def put_nearest(run: Path, prompt: str, place: int, public: Path) -> tuple[Path, str]:
    """Write a training picture as WebP into a public folder, once; returns it with its caption.

    Pictures are ordered by the words that their captions share with the prompt, and `place` counts in this order, round
    and round. Raises VelaturaError if there is no picture, or if it cannot be read.
    """
    from trainers.data.subjects import names

    config, wanted = Run(run).config(), names(prompt)
    captions = [(base_caption(path, config.data), path) for path in pictures_of(run)]
    captions.sort(key=lambda each: -len(wanted & names(each[0])))
    caption, path = captions[place % len(captions)]
    copy = public / f"trained-{path.stem}-{path.stat().st_mtime_ns:x}.webp"
    if not copy.is_file():
        _save_cut(path, config, copy)
    return copy, caption


def _save_cut(path: Path, config: Config, copy: Path) -> None:
    from trainers.data.buckets import bucket_for, fit
    from trainers.data.dataset import CENTRE
    from trainers.data.decode import flatten
    from trainers.data.source import read_source
    from trainers.planning.findings import native_size

    data, size = config.data, native_size(config.base.model)
    picture = flatten(read_source(path).picture())
    if size is not None:  # the base is on this computer
        bucket = bucket_for(*picture.size, data.resolution or size[0], size[1], data.max_aspect, data.max_upscale)
        picture, _, _ = fit(picture, bucket, CENTRE)
    save_preview(picture, copy, LARGE_SIDE)
