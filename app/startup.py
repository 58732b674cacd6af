"""Process setup before torch is loaded: `prepare_process`."""

from __future__ import annotations

import gc
import warnings

from trainers.lazy_module import load_rarely_used
from trainers.process.threads import limit_spinning

COLLECTION_THRESHOLDS = (20_000, 20, 20)
"""For `gc.set_threshold`.

Python looks for garbage after every 700 new objects. Importing torch, diffusers and Gradio makes hundreds of thousands,
all of which stay, so a quarter of the time until a training, a picture or the studio starts went into collections that
found nothing: the imports of a training took 4.6 s of processor time and take 3.5, Gradio's took 1.8 and take 1.2.
"""


def prepare_process() -> None:
    """Set how long idle threads spin, how often garbage is collected, and which modules are loaded only when used.

    Thresholds that are set higher already stay. Pillow's warning about large images is hidden, since
    `trainers.data.decode` accepts or refuses them itself.
    """
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    limit_spinning()
    load_rarely_used()
    if 0 < gc.get_threshold()[0] < COLLECTION_THRESHOLDS[0]:
        gc.set_threshold(*COLLECTION_THRESHOLDS)
