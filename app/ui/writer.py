"""The process that writes captions for a draft: `python -m app.ui.writer FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from app.ui.worker import Tell, report, tell_download


def write(asked: dict[str, Any], tell: Tell) -> None:
    """Write the captions of the pictures that are asked for."""
    from trainers.data.captioning import fetch_captioner, load_captioner
    from trainers.data.decode import flatten, open_image
    from trainers.models.quiet import quietly

    folder = fetch_captioner(asked["model"], tell_download(tell))
    tell(type="loading")
    with quietly():
        caption = load_captioner(asked["model"], folder)
        for number, picture in enumerate(asked["pictures"]):
            tell(type="picture", number=number)
            image = flatten(open_image(Path(asked["folder"]) / f"{picture}.png"))
            tell(type="caption", picture=picture, caption=caption(image))


if __name__ == "__main__":
    report(Path(sys.argv[1]), write)
