"""The process that downloads a base model: `python -m app.studio.downloads.process FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from app.studio.downloads.worker import OnProgress, download_progress, report


def download(request: dict[str, Any], on_progress: OnProgress) -> None:
    """Download the requested model into the hub's cache."""
    from trainers.models.files.download import download_model

    download_model(request["model"], download_progress(on_progress))


if __name__ == "__main__":
    report(Path(sys.argv[1]), download)
