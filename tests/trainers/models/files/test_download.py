"""Downloads, against a hub of our own on this machine: what is fetched, what is said, what is refused."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
import torch

from tests.base_hub import TOKEN
from tests.tiny_flow import tiny_flow_folder
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.blob import _check, blob_folder
from trainers.models.files.download import SPARE, NeedsTokenError, check_id, download_model, needed_files
from trainers.models.files.hub import cached_snapshot
from trainers.models.load import load_model


@pytest.fixture
def hub(base_hub):
    base_hub.files |= {
        "README.md": b"#",
        "unet/diffusion_pytorch_model.bin": b"pickle",
        "safety_checker/config.json": b"{}",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"variant",
    }
    return base_hub


def test_fetches_what_is_needed_and_nothing_else(hub, tiny_bases, tmp_path):
    seen: list[tuple[int, int]] = []
    folder = download_model("tiny/base", lambda done, total: seen.append((done, total)))
    expected = set(needed_files("tiny/base", hub.files))
    assert hub.fetched == expected
    assert "unet/diffusion_pytorch_model.safetensors" in expected
    assert not {"README.md", "safety_checker/config.json", "unet/diffusion_pytorch_model.bin"} & expected
    assert folder == cached_snapshot("tiny/base")
    assert folder.is_relative_to(tmp_path / "hub" / "cache")
    total = sum(len(hub.files[name]) for name in expected)
    assert seen
    assert seen[-1] == (total, total)
    assert all(done <= total for done, total in seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_hub_id_as_base_is_downloaded_once(hub, tiny_models):
    model = load_model(Base(model="tiny/base"), torch.float32, "cpu")
    assert torch.equal(model.denoiser.conv_in.weight, tiny_models["sd1"].denoiser.conv_in.weight)
    assert (model.title, model.starter) == ("tiny/base", False)
    hub.fetched.clear()
    load_model(Base(model="tiny/base"), torch.float32, "cpu")
    assert not hub.fetched


@pytest.mark.parametrize("index", ["model_index.json", "modular_model_index.json"])
def test_a_base_of_another_kind_is_refused_before_its_weights_are_fetched(hub, index):
    del hub.files["model_index.json"]
    hub.files[index] = b'{"_class_name": "AnimaModularPipeline"}'
    for _ in range(2):  # the second time, the index is in the cache
        with pytest.raises(VelaturaError, match=r"^tiny/base is Anima, which Velatura does not train yet"):
            download_model("tiny/base")
        assert hub.fetched == {index}


def test_a_base_of_another_kind_is_refused_by_its_name_before_anything_is_fetched(hub):
    with pytest.raises(VelaturaError, match=r"^black-forest-labs/FLUX\.2-dev is FLUX\.2 dev, which Velatura does not"):
        download_model("black-forest-labs/FLUX.2-dev")
    assert not hub.fetched
    check_id("someone/Mochi-mix-SDXL")  # may be of a kind that is trained


def test_unknown_and_gated(hub):
    with pytest.raises(VelaturaError, match="the hub has no model tiny/other"):
        download_model("tiny/other")
    for model in ("locked/base", "refused/base"):
        page = f"{model} is gated: accept its terms on https://huggingface.co/{model}, .*hf auth login"
        with pytest.raises(VelaturaError, match=page):
            download_model(model)


def test_only_parts_of_the_wanted_files_need_no_room(hub, monkeypatch):
    total = sum(map(len, hub.files.values()))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": SPARE + total - 700}))
    folder = blob_folder("tiny/base")
    folder.mkdir(parents=True)
    (folder / f"{'c' * 64}.part").write_bytes(bytes(2 * total))
    with pytest.raises(VelaturaError, match="free some space"):
        download_model("tiny/base")
    part = folder / f"{hashlib.sha256(hub.files[WEIGHTS]).hexdigest()}.part"
    part.write_bytes(hub.files[WEIGHTS][:700])
    download_model("tiny/base")
    assert [first for name, first in hub.begun if name == WEIGHTS] == [700]


def test_disk_is_checked_first(hub, monkeypatch):
    def usage(path):
        assert Path(path).exists()
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(VelaturaError, match=r"tiny/base needs 0.0 GB in .*free some space"):
        download_model("tiny/base")
    assert not hub.fetched


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def test_full_disk_while_writing(hub, monkeypatch, tmp_path):
    def fill(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("huggingface_hub.file_download.http_get", lambda *_, **__: fill(0, b""))
        with pytest.raises(VelaturaError, match=r"could not write tiny/base to .*No space left on device"):
            download_model("tiny/base")
    assert cached_snapshot("tiny/base") is None
    assert download_model("tiny/base") == cached_snapshot("tiny/base")


def test_a_download_that_broke_off_goes_on_where_it_ended(hub, monkeypatch):
    """The client repeats by itself; a process that was killed leaves its part, which the next one continues."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    hub.broken[WEIGHTS] = 1000
    download_model("tiny/base")
    assert [first for name, first in hub.begun if name == WEIGHTS] == [0, 1000]


def test_a_part_of_an_earlier_process_is_continued_and_one_of_the_wrong_size_is_not(hub):
    etag = hashlib.sha256(hub.files[WEIGHTS]).hexdigest()
    part = blob_folder("tiny/base") / f"{etag}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(hub.files[WEIGHTS][:700])
    seen = []
    download_model("tiny/base", lambda done, _: seen.append(done))
    assert [first for name, first in hub.begun if name == WEIGHTS] == [700] and not part.exists()
    assert seen == sorted(seen)
    blob = part.with_suffix("")
    blob.unlink()
    part.write_bytes(hub.files[WEIGHTS] + b"more")
    download_model("tiny/base")
    assert blob.read_bytes() == hub.files[WEIGHTS]


def test_a_file_with_another_hash_is_deleted_and_never_used(hub):
    hub.damaged.add(WEIGHTS)
    with pytest.raises(VelaturaError, match=f"{WEIGHTS} of tiny/base arrived damaged, so it was deleted"):
        download_model("tiny/base")
    assert cached_snapshot("tiny/base") is None and not list(blob_folder("tiny/base").glob("*.part"))
    hub.damaged.clear()
    download_model("tiny/base")
    # Small files are announced by git's hash.
    content = b'{"a": 1}'
    (part := blob_folder("tiny/base") / "x.part").write_bytes(content)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    _check(part, git, "tiny/base", "x")
    with pytest.raises(VelaturaError, match="damaged"):
        _check(part, "0" * 40, "tiny/base", "x")
    assert not part.exists()


def test_no_more_is_written_than_announced(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    hub.longer.add(WEIGHTS)
    sizes = []
    part = blob_folder("tiny/base") / f"{hashlib.sha256(hub.files[WEIGHTS]).hexdigest()}.part"
    download_model("tiny/base", lambda *_: sizes.append(part.stat().st_size if part.exists() else 0))
    assert (blob_folder("tiny/base") / part.stem).read_bytes() == hub.files[WEIGHTS]
    assert 0 < max(sizes) <= len(hub.files[WEIGHTS])


def test_a_hash_is_no_path(hub, tmp_path):
    hub.etag = "../../../outside"
    with pytest.raises(VelaturaError, match="no usable hash"):
        download_model("tiny/base")
    assert not list(tmp_path.rglob("outside*"))


def test_a_gated_base_comes_to_who_is_logged_in_and_has_accepted_its_terms(hub, monkeypatch, tmp_path):
    hub.gated = True
    with pytest.raises(NeedsTokenError, match="tiny/base is gated"):
        download_model("tiny/base")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.accepted = False
    with pytest.raises(NeedsTokenError, match="accept its terms"):
        download_model("tiny/base")
    hub.accepted = True
    download_model("tiny/base")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert cached_snapshot("tiny/base") and TOKEN.encode() not in kept


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # the port that discards
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for get in (download_model, lambda name: load_model(Base(model=name), torch.float32, "cpu")):
        with pytest.raises(
            VelaturaError, match=r"owner/name .*no network: run `velatura models get owner/name`"
        ) as caught:
            get("owner/name")
        assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_stable_diffusion_3_comes_without_t5_unless_it_is_asked_for(hub, tmp_path):
    folder = tiny_flow_folder("sd3", tmp_path / "sd3")
    hub.files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    t5 = {name for name in hub.files if name.startswith(("text_encoder_3/", "tokenizer_3/"))}
    without = load_model(Base(model="tiny/base"), torch.float32, "cpu")
    assert t5 and hub.fetched == set(hub.files) - t5 and any("without T5" in note for note in without.notes)
    hub.fetched.clear()
    found = download_model("tiny/base", complete=True)
    assert hub.fetched == t5 and found == cached_snapshot("tiny/base")
    assert not any("T5" in note for note in load_model(Base(model="tiny/base"), torch.float32, "cpu").notes)
    (found / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    assert cached_snapshot("tiny/base") is None


def test_no_id():
    with pytest.raises(VelaturaError, match="'just-a-name' is not a hub id"):
        download_model("just-a-name")


REPOSITORY = [
    "model_index.json",
    "v1-5-pruned.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.fp16.safetensors",
    "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors",
    "text_encoder/model-00002-of-00002.safetensors",
    "text_encoder/model.safetensors.index.json",
    "text_encoder/model.fp16-00001-of-00002.safetensors",
    "text_encoder/model.safetensors.index.fp16.json",
    "text_encoder/flax_model.msgpack",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "scheduler/scheduler_config.json",
    "safety_checker/model.safetensors",
    "vae_decoder/model.onnx",
    "unet/old/diffusion_pytorch_model.safetensors",
]


def test_choice_of_files():
    assert needed_files("a/b", REPOSITORY) == [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/config.json",
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model-00002-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
    ]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["model.safetensors"], "not a base in diffusers layout"),
        (["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin"], "its unet only as pickles"),
        (["model_index.json", "prior/model.safetensors"], "neither a UNet nor a transformer"),
    ],
)
def test_refused_repositories(names, reason):
    with pytest.raises(VelaturaError, match=reason):
        needed_files("a/b", names)
