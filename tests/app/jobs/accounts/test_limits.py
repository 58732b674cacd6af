from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.jobs import actions
from app.jobs.accounts.limits import (
    SMALL_WAITING,
    STORAGE,
    USUAL_WAITING,
    WAITING,
    LimitError,
    Limits,
    check_previews,
)
from app.jobs.job import NewJob
from app.jobs.permissions import Actor
from app.jobs.store import CAPTION, TRAIN, Store
from trainers.config.build import build_config
from trainers.config.config import Config
from trainers.errors import VelaturaError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def new(store: Store, number: int, owner: str = "ann", kind: str = TRAIN) -> NewJob:
    return NewJob(kind, store.runs / f"{kind}-{owner}-{number}", owner=owner)


def test_nobody_has_more_waiting_than_they_may(store: Store):
    for number in range(USUAL_WAITING):
        store.add(new(store, number))
    with pytest.raises(LimitError, match=r"20 of your trainings wait already.*at most 20.*Wait until one starts"):
        store.add(new(store, 99))
    with pytest.raises(LimitError):
        store.check_waiting("ann", TRAIN)
    store.add(new(store, 0, "bob"))
    for number in range(USUAL_WAITING + 1):
        store.add(new(store, number, ""))
    for number in range(SMALL_WAITING):
        store.add(new(store, number, kind=CAPTION))
    with pytest.raises(LimitError, match="pictures, captions and estimates"):
        store.add(new(store, 99, kind=CAPTION))
    assert store.add(new(store, 99), phase="ended").phase == "ended"


def test_two_stores_at_once_do_not_pass_the_limit(tmp_path: Path):
    stores = [Store(tmp_path) for _ in range(4)]
    Limits(stores[0].settings).set(WAITING, 3, "ann")

    def add(number: int) -> bool:
        try:
            stores[number % 4].add(new(stores[0], number))
        except LimitError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(add, range(12)))
    assert sum(added) == 3 and len(stores[0].line()) == 3


def test_an_ended_run_waits_again_only_within_the_limit(store: Store):
    Limits(store.settings).set(WAITING, 1)
    ended = store.add(new(store, 1), phase="ended")
    store.add(new(store, 2))
    with pytest.raises(LimitError):
        store.put_in_line(ended)
    assert store.job(ended.id).phase == "ended"
    Limits(store.settings).set(WAITING, 2, "ann")
    assert store.put_in_line(ended) and store.job(ended.id).phase == "waiting"


def test_limits_of_all_and_of_one_person(store: Store):
    limits = Limits(store.settings)
    assert limits.waiting("ann") == USUAL_WAITING and limits.storage("ann", 7) == 7 and not store.exists()
    limits.set(WAITING, 5)
    limits.set(WAITING, 0, "ann")
    limits.set(STORAGE, 10**9)
    assert (limits.waiting("ann"), limits.waiting("bob")) == (0, 5)
    assert limits.storage("ann", 7) == 10**9
    with pytest.raises(LimitError):
        store.add(new(store, 1))
    limits.forget("ann")
    assert limits.waiting("ann") == 5 and limits.of(WAITING, "ann") is None
    for value in (-1, 10_001):
        with pytest.raises(VelaturaError, match="0 to 10000"):
            limits.set(WAITING, value)


def test_samples_of_a_member_are_limited_like_drawings(tmp_path: Path):
    def sampled(**sample: object) -> Config:
        return build_config({"name": "x", "sample": sample})

    check_previews(sampled(size=1024))
    check_previews(sampled(prompts=["a fox"] * 16, steps=50))
    with pytest.raises(LimitError, match=r"4 pictures of 4096 × 4096 can have at most 9 steps each"):
        check_previews(sampled(size=4096))
    with pytest.raises(LimitError, match=r"40000 pictures of 128 × 128"):
        check_previews(sampled(seeds=list(range(10_000))))
    (tmp_path / "pictures").mkdir()
    config = build_config({"name": "x", "data": {"images": str(tmp_path / "pictures")}, "sample": {"size": 4096}})
    with pytest.raises(LimitError):
        actions.add(Store(tmp_path), config, actor=Actor("ann"))
    with pytest.raises(VelaturaError, match="no images"):  # the machine's owner comes as far as the pictures
        actions.add(Store(tmp_path), config, actor=Actor())
