"""What decoding takes, measured in a process of its own: `python -m tests.trainers.data.decoding FOLDER` prints JSON.

Each image is decoded in a fork, so that no peak hides behind another's.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainers.data import pictures

SIZE = (1200, 900)


def write_kinds(folder: Path) -> None:
    """One image of each kind, of `SIZE`, in files that are small and quick to write."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    width, height = SIZE
    grey = np.tile(np.linspace(0, 255, width, dtype=np.float32), (height, 1))
    plain = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    clear = plain.copy()
    clear.putalpha(Image.fromarray(grey.astype(np.uint8)))
    other = plain.transpose(Image.Transpose.ROTATE_180)
    sixteen = (grey * 257).astype(np.uint16)
    animated = {"save_all": True, "append_images": [other]}
    plain.save(folder / "rgb.png", compress_level=1)
    plain.convert("L").save(folder / "l.png", compress_level=1)
    plain.convert("P").save(folder / "p.png", compress_level=1)
    clear.convert("LA").save(folder / "la.png", compress_level=1)
    clear.save(folder / "rgba.png", compress_level=1)
    Image.fromarray(sixteen).save(folder / "i16.png", compress_level=1)
    (folder / "rgb16.png").write_bytes(pictures.png(np.repeat(sixteen[..., None], 3, 2), 2))
    Image.fromarray(grey / 255).save(folder / "f.tif", compression="tiff_deflate")
    Image.fromarray((grey * 256).astype(np.int32)).save(folder / "i.tif", compression="tiff_deflate")
    plain.convert("CMYK").save(folder / "cmyk.jpg", progressive=True)
    plain.save(folder / "progressive.jpg", progressive=True, subsampling=0)
    plain.save(folder / "animated.webp", method=0, quality=30, **animated)
    plain.convert("P").save(folder / "animated.gif", **animated)
    plain.save(folder / "animated.png", compress_level=1, **animated)
    clear.save(folder / "clear.avif", speed=10, quality=40)
    clear.save(folder / "clear.heic", quality=40)
    deep = np.stack([sixteen, sixteen, sixteen, sixteen], 2)
    ten_bits = pillow_heif.from_bytes(mode="RGBA;16", size=SIZE, data=deep.tobytes())
    ten_bits.save(folder / "deep.heic", quality=40, chroma=444)


def peak(do: Callable[[], object]) -> int:
    """The bytes by which the memory of a fork grows while it does something."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        do()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writing, str(grown * 1024).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    assert os.waitpid(child, 0)[1] == 0 and said, "the fork has failed"
    return int(said)


def main(folder: Path, kept: int) -> None:
    """Print by file what decoding has taken and what was foreseen, in bytes, kept whole and scaled down."""
    from trainers.data.decode import open_image
    from trainers.data.decode_memory import bytes_to_decode

    pictures.scene().save(folder / "first.png")
    open_image(folder / "first.png")  # what is loaded once is not counted
    (folder / "first.png").unlink()
    found = {}
    for path in sorted(folder.iterdir()):
        for keep in (None, kept):
            with Image.open(path) as opened:
                foreseen = bytes_to_decode(opened, keep, path.stat().st_size)
            taken = peak(lambda path=path, keep=keep: open_image(path, keep_pixels=keep))
            found[f"{path.name}{'' if keep is None else ', smaller'}"] = [taken, foreseen]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
