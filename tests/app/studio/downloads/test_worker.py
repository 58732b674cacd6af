"""A worker's folder is replaced while pages read it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from app.studio.downloads.worker import Worker


def test_pages_that_look_during_starts_neither_stop_them_nor_miss_the_request(tmp_path: Path) -> None:
    worker, ended = Worker(tmp_path / "download", "json.tool"), Event()
    worker.start({"number": -1})

    def look() -> list[object]:
        looks: list[object] = []
        while not ended.is_set():
            looks.append(worker.request())
            worker.look()
            worker.log()
        return looks

    with ThreadPoolExecutor(2) as pool:
        pages = [pool.submit(look) for _ in range(2)]
        try:
            for number in range(40):
                worker.start({"number": number})
        finally:
            ended.set()
    worker.stop()
    looks = [request for page in pages for request in page.result()]
    assert len(looks) > 40 and None not in looks
    assert worker.request() == {"number": 39}
