from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.ui.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "outputs")
    made.make()
    return made


def test_the_secret_is_kept(places):
    secret = places.secret()
    assert len(secret) == 32 and places.secret() == secret and len(set(secret)) > 10
    assert stat.S_IMODE((places.root / "secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [b"", b"x", bytes(31)])
def test_what_is_too_short_to_be_a_key_is_none(places, left):
    (places.root / "secret").write_bytes(left)
    secret = places.secret()
    assert len(secret) == 32 and secret[: len(left)] != (left or None) and places.secret() == secret
    assert (places.root / "secret.damaged").read_bytes() == left


def test_all_who_come_first_get_the_same(places):
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: places.secret(), range(16)))) == 1
