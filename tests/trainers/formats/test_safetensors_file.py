"""Style files on disk: the library's layout, kohya's hashes, and whole or not there at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from tests.faults import Fault, check_old_or_new
from trainers.errors import VelaturaError
from trainers.formats.safetensors_file import LARGEST_HEADER, save

TENSORS = {"b.x": torch.arange(6.0).view(2, 3), "a.x": torch.ones(5).half(), "a.alpha": torch.tensor(4.0)}


def test_bytes_are_the_librarys_but_for_the_order_of_metadata(tmp_path):
    save(tmp_path / "a.safetensors", TENSORS, {"ss_z": "1", "ss_a": 'é "quoted"\n'})
    ours = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(ours[:8], "little")
    theirs = safetensors.torch.save(TENSORS, {"ss_z": "1", "ss_a": 'é "quoted"\n'})
    their_length = int.from_bytes(theirs[:8], "little")
    assert ours[8 + length :] == theirs[8 + their_length :]
    header, expected = json.loads(ours[8 : 8 + length]), json.loads(theirs[8 : 8 + their_length])
    written = header.pop("__metadata__")
    assert list(written) == sorted(written)
    assert written.items() >= expected.pop("__metadata__").items()
    assert list(header.items()) == list(expected.items())
    assert length % 8 == 0


def test_hashes_are_those_of_kohya(tmp_path):
    large = {f"layer_{i}.x": torch.arange(100_000.0) + i for i in range(4)}  # 1.6 MB, past the legacy hash's window
    metadata = {"ss_base_model_version": "sd_v1", "modelspec.title": "not part of the legacy hash"}
    save(tmp_path / "a.safetensors", large, metadata)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        written = file.metadata()
    whole = (tmp_path / "a.safetensors").read_bytes()
    data = whole[8 + int.from_bytes(whole[:8], "little") :]
    assert written["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    assert written["modelspec.hash_sha256"] == "0x" + hashlib.sha256(data).hexdigest()
    serialised = safetensors.torch.save(large, {"ss_base_model_version": "sd_v1"})
    assert written["sshs_legacy_hash"] == hashlib.sha256(serialised[0x100000:0x110000]).hexdigest()[:8]
    save(tmp_path / "small.safetensors", TENSORS, {})
    with safe_open(tmp_path / "small.safetensors", "pt") as file:
        assert file.metadata()["sshs_legacy_hash"] == "e3b0c442"


def test_a_header_of_a_mebibyte_loses_tags_first(tmp_path):
    metadata = {"ss_tag_frequency": "x" * 2**19, "velatura.config": "y" * 2**19, "ss_seed": "1"}
    save(tmp_path / "a.safetensors", TENSORS, metadata)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        written = file.metadata()
    assert "ss_tag_frequency" not in written and written["ss_seed"] == "1" and "velatura.config" in written
    length = int.from_bytes((tmp_path / "a.safetensors").read_bytes()[:8], "little")
    assert length < LARGEST_HEADER


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, existing):
    target = tmp_path / "a.safetensors"
    if existing:
        target.write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VelaturaError, match=r"^the disk is full, .*a\.safetensors was not written"):
        save(target, TENSORS, {})
    assert [path.name for path in tmp_path.iterdir()] == (["a.safetensors"] if existing else [])
    assert not existing or target.read_bytes() == b"before"


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_at_any_change_leaves_the_old_file_or_the_new_one(fault, tmp_path):
    (tmp_path / "before").mkdir()
    save(tmp_path / "before" / "a.safetensors", TENSORS, {"ss_seed": "1"})

    def look(folder):
        with safe_open(folder / "a.safetensors", "pt") as file:
            assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in TENSORS.items())
            return file.metadata()

    check_old_or_new(
        fault, tmp_path, tmp_path / "before", lambda place: save(place / "a.safetensors", TENSORS, {}), look
    )


def test_a_disk_that_gives_back_other_bytes_is_noticed(tmp_path, monkeypatch):
    def flip(descriptor: int) -> None:
        (part,) = tmp_path.glob(".*.part")
        content = bytearray(part.read_bytes())
        content[-1] ^= 1
        part.write_bytes(content)

    monkeypatch.setattr(os, "fsync", flip)
    with pytest.raises(VelaturaError, match="reads back differently"):
        save(tmp_path / "a.safetensors", TENSORS, {})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VelaturaError, match="cannot write"):
        save(tmp_path / "file" / "a.safetensors", TENSORS, {})
    with pytest.raises(VelaturaError, match="cannot write"):
        save(tmp_path / "missing" / "a.safetensors", TENSORS, {})


def test_a_style_that_windows_says_is_being_read_is_replaced_a_little_later(tmp_path, monkeypatch):
    path, replace, tries = tmp_path / "a.safetensors", Path.replace, []
    path.write_bytes(b"old")

    def refuse(part: Path, target: Path) -> Path:
        tries.append(target)
        if len(tries) == 1:
            error = PermissionError(errno.EACCES, "in use")
            error.winerror = 32
            raise error
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", refuse)
    save(path, TENSORS, {})
    assert tries == [path, path] and safetensors.torch.load_file(path).keys() == TENSORS.keys()
