"""The second step of Train: settings files that somebody chooses."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from app.studio.services import Services
from app.ui.train.events import SettingsRead
from app.ui.train.style import StyleStep

REQUEST = SimpleNamespace(username="", cookies={}, session_hash="a page")


@pytest.fixture
def step(services: Services) -> StyleStep:
    with gr.Blocks():
        return StyleStep(services)


def read(content: str, apply: bool = False) -> SettingsRead:
    return SettingsRead(name="train.sh", text=content, apply=apply, open=True, of="style-own")


def test_a_script_that_blows_up_is_refused_in_a_sentence(step: StyleStep) -> None:
    laughs = "".join(f"V{k + 1}={f'$V{k}' * 5}\n" for k in range(40))
    shown = step.on_settings_read(read(f"V0=aaaaaaaa\n{laughs}python train_network.py --network_dim $V40\n"), REQUEST)
    assert "train.sh cannot be used: its variables put in more than 100,000 letters" in shown[step.own]
    long = step.on_settings_read(read("a = 1\n" * 50_000), REQUEST)
    assert "train.sh cannot be used: it is too long for a settings file" in long[step.own]
