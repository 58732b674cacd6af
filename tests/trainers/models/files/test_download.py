"""Downloads, against a hub of our own on this machine: what is fetched, what is said, what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tests.tiny_flow import tiny_flow_folder
from trainers.config.sections import Base
from trainers.errors import VelaturaError
from trainers.models.files.download import check_id, download_model, needed_files
from trainers.models.files.hub import cached_snapshot
from trainers.models.load import load_model

SHA = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """Just enough of the hub's interface: listing, tree and files of one folder, and its ways of saying no."""

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if "/locked/" in path:
            return self.send(403, {"X-Error-Code": "GatedRepo"})
        if "/refused/" in path:  # a token without rights
            return self.send(403, {})
        if "/tiny/base" not in path:
            return self.send(401, {"X-Error-Code": "RepoNotFound"})
        files = self.server.files
        if found := re.fullmatch(r"/tiny/base/resolve/\w+/(.+)", path):
            self.server.fetched.add(found[1])
            content = files[found[1]]
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": SHA}
            return self.send(200, headers, content, body)
        if "/tree/" in path:
            rows = [{"type": "file", "path": p, "size": len(c), "oid": "b" * 40} for p, c in files.items()]
            return self.send(200, {}, json.dumps(rows).encode())
        listing = [{"rfilename": p, "size": len(c)} for p, c in files.items()]
        return self.send(200, {}, json.dumps({"id": "tiny/base", "sha": SHA, "siblings": listing}).encode())

    def send(self, status: int, headers: dict[str, str], content: bytes = b"", body: bool = True) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(tiny_bases, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    folder: Path = tiny_bases["sd1"]
    server.files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    server.files |= {
        "README.md": b"#",
        "unet/diffusion_pytorch_model.bin": b"pickle",
        "safety_checker/config.json": b"{}",
    }
    server.files["unet/diffusion_pytorch_model.fp16.safetensors"] = b"variant"
    server.fetched = set()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetches_what_is_needed_and_nothing_else(hub, tiny_bases, tmp_path):
    seen: list[tuple[int, int]] = []
    folder = download_model("tiny/base", lambda done, total: seen.append((done, total)))
    expected = set(needed_files("tiny/base", hub.files))
    assert hub.fetched == expected
    assert "unet/diffusion_pytorch_model.safetensors" in expected
    assert not {"README.md", "safety_checker/config.json", "unet/diffusion_pytorch_model.bin"} & expected
    assert folder == cached_snapshot("tiny/base")
    assert folder.is_relative_to(tmp_path / "cache")
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


def test_disk_is_checked_first(hub, monkeypatch):
    def usage(path):
        assert Path(path).exists()
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(VelaturaError, match=r"tiny/base needs 0.0 GB in .*free some space"):
        download_model("tiny/base")
    assert not hub.fetched


def test_full_disk_while_writing(hub, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(VelaturaError, match=r"could not write tiny/base to .*No space left on device"):
        download_model("tiny/base")


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
