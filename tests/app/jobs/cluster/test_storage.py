"""Object storage: an S3 server in this process, and fsspec's file systems for what does not depend on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.jobs.cluster import storage as module
from app.jobs.cluster.parcel import digest_of
from app.jobs.cluster.storage import CONTENTS, KEPT, LARGE, Storage, own_folder
from trainers.errors import VelaturaError

pytest.importorskip("fsspec")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket, and the environment that leads to it."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    import fsspec
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        }.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("velatura")
        yield "s3://velatura/runs"
        server.stop()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(b"x" * LARGE)
    return path


def written(storage: Storage, digest: str) -> Any:
    """The object of a content, as fsspec describes it."""
    return storage._files.info(storage._place(f"{CONTENTS}/{digest}"))


def check_contents(storage: Storage, large: Path) -> None:
    storage.check()
    assert storage._find(storage._root) is None or not storage._files.find(storage._root), "the probe is gone"
    blob, target = digest_of(large), large.with_name("back")
    storage.put(blob, large)
    first = written(storage, blob.digest)
    storage.put(blob, large)
    assert written(storage, blob.digest) == first, "it is there, so it is not sent again"
    storage.get(blob, target)
    assert target.read_bytes() == large.read_bytes()
    assert storage.create("manifests/a/1", b"one") and not storage.create("manifests/a/1", b"two")
    assert storage.read("manifests/a/1") == b"one"
    assert storage.create("manifests/ab", b"") and storage.create("manifests/a/2", b"")
    assert [name for name, age in storage.names("manifests/a") if age < 60] == ["manifests/a/1", "manifests/a/2"]
    storage.remove("manifests/a/1")
    storage.remove("manifests/a/1")
    assert [name for name, _ in storage.names("manifests")] == ["manifests/a/2", "manifests/ab"]
    assert list(storage.names("nothing")) == []

    storage._files.pipe_file(storage._place(f"{CONTENTS}/{blob.digest}"), b"y" * LARGE)  # as many bytes, but others
    with pytest.raises(VelaturaError, match="was damaged and has been removed; try again"):
        storage.get(blob, target)
    assert not target.exists()
    storage.put(blob, large)
    storage.get(blob, target)
    storage._files.pipe_file(storage._place(f"{CONTENTS}/{blob.digest}"), b"x")  # half of an upload
    storage.put(blob, large)
    assert written(storage, blob.digest)["size"] == LARGE


def test_contents_and_numbered_objects_on_s3(bucket, large):
    check_contents(Storage(f"{bucket}/one"), large)
    assert list(Storage(f"{bucket}/two").names(CONTENTS)) == [], "each folder of runs has its own"


def test_contents_and_numbered_objects_in_a_folder(tmp_path, large):
    check_contents(Storage(f"file://{tmp_path.as_posix()}/shared"), large)


def test_an_old_content_is_sent_again_before_it_is_removed(tmp_path, large):
    storage, blob = Storage(f"file://{tmp_path.as_posix()}/shared"), digest_of(large)
    storage.put(blob, large)
    place = tmp_path / "shared" / CONTENTS / blob.digest
    os.utime(place, (time.time() - KEPT,) * 2)
    storage.put(blob, large)
    assert time.time() - place.stat().st_mtime < 60


def test_a_storage_that_is_back_in_time_was_never_gone(tmp_path, large, monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.001, 0.01))
    storage, blob, tries = Storage(f"file://{tmp_path.as_posix()}/shared", patience=5.0), digest_of(large), []
    put = storage._files.put_file

    def fail_twice(*arguments: object) -> None:
        tries.append(arguments)
        if len(tries) < 3:
            raise TimeoutError("no answer")
        put(*arguments)

    monkeypatch.setattr(storage._files, "put_file", fail_twice)
    storage.put(blob, large)
    assert len(tries) == 3 and written(storage, blob.digest)["size"] == LARGE


def test_a_lost_storage_is_a_sentence_without_keys(bucket, large, monkeypatch):
    with pytest.raises(VelaturaError, match=r"^the storage s3://nowhere/runs cannot be used: .*bucket") as said:
        Storage("s3://nowhere/runs").check()  # at once: waiting does not make a bucket
    assert "hush" not in str(said.value)
    monkeypatch.setattr(module, "PAUSES", (0.001, 0.01))
    storage = Storage(f"{bucket}/gone", patience=0.0)

    def refuse(*arguments: object, **named: object) -> None:
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="http://10.0.0.1")

    monkeypatch.setattr(storage._files, "pipe_file", refuse)
    with pytest.raises(VelaturaError, match=r"cannot be used: Could not connect to the endpoint URL"):
        storage.create("manifests/1", b"")


def test_a_storage_without_conditional_writes_is_refused(tmp_path, monkeypatch):
    storage = Storage(f"file://{tmp_path.as_posix()}/shared")
    monkeypatch.setattr(storage._files, "pipe_file", lambda *_, **__: None)
    with pytest.raises(VelaturaError, match="it overwrites what is there although asked not to"):
        storage.check()


def test_addresses(tmp_path):
    place = own_folder("s3://bucket/here/", tmp_path)
    assert place == own_folder("s3://bucket/here", tmp_path) and place.startswith("s3://bucket/here/")
    assert place != own_folder("s3://bucket/here", tmp_path / "other")
    with pytest.raises(VelaturaError, match="must not hold access keys"):
        own_folder("s3://key:hush@bucket", tmp_path)
    for wrong in ("bucket", "nowhere://bucket"):
        with suppress(ImportError), pytest.raises(VelaturaError, match="is not the address of a storage"):
            Storage(wrong)
