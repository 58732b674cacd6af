"""A base without a terminal: terms, login, pause and resume in a real browser, from a hub on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import expect
from safetensors.torch import load, save

from app.studio.downloads.downloads import OFFERS
from tests.app.ui.server import Process
from tests.app.ui.visitor import READY, visiting
from tests.base_hub import TOKEN, BaseHub

OFFER = OFFERS[0]
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
AT_HUB = """
from huggingface_hub import constants, hf_api
constants.HF_HUB_OFFLINE, constants.ENDPOINT = False, "{url}"
constants.HF_HUB_CACHE, constants.HF_TOKEN_PATH = "{place}/cache", "{place}/token"
constants.HF_STORED_TOKENS_PATH = "{place}/stored_tokens"
hf_api.api.endpoint = "{url}"
"""
"""For `before`: what the client reads from its environment when it is imported."""


@pytest.fixture
def page(browser: Any, base_hub: BaseHub, tmp_path: Path) -> Iterator[Any]:
    """A visitor at the second step who makes styles for ComfyUI; no base is on the computer."""
    base_hub.repository = OFFER.model
    before = AT_HUB.format(url=base_hub.url, place=tmp_path / "hub")
    process = Process(tmp_path / "outputs", before=before, HF_ENDPOINT=base_hub.url, HF_HUB_OFFLINE="0")
    with visiting(browser, process.url) as page:
        page.goto(process.url)
        page.wait_for_selector(READY)
        page.locator("[data-sample]").first.click()
        page.get_by_role("link", name="Next: style").click()
        page.get_by_role("radio", name="ComfyUI").press("Space")
        page.get_by_text("Choose a base model for ComfyUI").wait_for()
        yield page
    process.close()


def test_a_gated_base_is_downloaded_after_a_login_paused_resumed_and_repeated(
    page: Any, base_hub: BaseHub, tmp_path: Path
) -> None:
    base_hub.gated, base_hub.slow = True, threading.Event()
    # The client writes ten megabytes at once.
    weights = load(base_hub.files[WEIGHTS]) | {"padding": torch.zeros(6_000_000)}
    base_hub.files[WEIGHTS] = save(weights)
    offer = page.locator(f".offers [data-key='{OFFER.model}']")
    licence = offer.get_by_role("link", name=f"Licence: {OFFER.licence.name}")
    expect(licence).to_have_attribute("href", OFFER.licence.page)
    expect(offer).to_contain_text("About 4.3 GB of ")
    offer.get_by_role("button", name="Download").click()
    terms = offer.get_by_role("link", name=f"Accept the terms of {OFFER.title}")
    expect(terms).to_have_attribute("href", f"{base_hub.url}/{OFFER.model}")
    expect(offer.get_by_role("link", name="Make an access token")).to_have_attribute(
        "href", f"{base_hub.url}/settings/tokens"
    )
    field = offer.get_by_label("Access token", exact=True)
    field.fill("hf_wrong")
    field.press("Enter")
    expect(offer.get_by_role("alert").filter(has_text="does not know this token")).to_be_visible()
    field.fill(TOKEN)
    field.press("Enter")
    expect(offer).to_contain_text("Downloading Stable Diffusion 1.5: 1")
    offer.get_by_role("button", name="Pause").click()
    expect(offer).to_contain_text("The downloaded part is kept; the download resumes from there.")
    expect(page.get_by_text("This computer is logged in to Hugging Face.")).to_be_visible()
    base_hub.slow.set()
    base_hub.damaged.add(WEIGHTS)
    resume = offer.get_by_role("button", name="Resume download")
    resume.click()
    expect(offer.get_by_role("alert")).to_contain_text("arrived damaged, so it was deleted")
    begun = [first for name, first in base_hub.begun if name == WEIGHTS]
    assert begun[0] == 0 and begun[-1] >= 10_000_000, "it went on where it was"
    base_hub.damaged.clear()
    resume.click()
    expect(page.locator(".chosen-base")).to_contain_text(OFFER.model)
    assert TOKEN not in page.content()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert {path.name for path in files} == {"token", "stored_tokens"}, "not in the studio's files or log"
    page.locator(".chosen-base").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("This computer is logged in to Hugging Face.")).to_have_count(0)
    assert not any(path.exists() for path in files)
