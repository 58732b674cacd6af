"""Gradio's client, one call after another."""

from __future__ import annotations

from concurrent.futures import wait
from typing import Any


def connect(url: str, **settings: Any) -> Any:
    """A client that waits for the end of one call's stream before the next call.

    Gradio's own may still count the next call to the stream that the server is closing, and cancels it with that.
    """
    from gradio_client import Client

    class Sequential(Client):
        def submit(self, *given: Any, **named: Any) -> Any:
            reader = self.streaming_future
            if reader is not None:
                wait([reader], timeout=30)
            return super().submit(*given, **named)

    return Sequential(url, verbose=False, **settings)
