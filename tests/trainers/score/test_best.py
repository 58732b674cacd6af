from __future__ import annotations

from dataclasses import replace

import pytest

from trainers.messages import Message
from trainers.score.best import OF_STEPS, OTHERS, PARTLY_LIKE, STILL_LIKE, UNLIKE, find_best, stops_at
from trainers.score.score import Score

BASE = Score(0, 10.0, 0.0, 0.0, variety=1.0)


def score(step: int, distance: float, change: float, error: float = 0.1, variety: float | None = 1.0) -> Score:
    return Score(step, distance, change, error, variety=variety)


def reason(like: Message, step: int, gone: float) -> Message:
    return like.format(chosen=OF_STEPS.chosen.format(step=step), gone=gone)


def test_the_least_change_with_most_of_the_gain_is_chosen() -> None:
    scores = [score(10, 7.0, 0.1), score(20, 2.0, 0.3), score(30, 1.0, 0.5), score(40, 1.5, 0.2)]
    best = find_best(BASE, scores)
    # the best gain is 9, so 8.1 is needed: steps 30 and 40 have it, and step 40 changed least
    assert best.score == scores[3]
    assert best.reason == reason(STILL_LIKE, 40, 85)


def test_a_score_with_exactly_the_share_of_the_best_gain_counts() -> None:
    scores = [score(10, 1.0, 0.1), score(20, 0.0, 0.5)]
    assert find_best(BASE, scores).score == scores[0]
    assert find_best(BASE, [score(10, 1.001, 0.1), scores[1]]).score == scores[1]


def test_a_gain_within_the_noise_of_seeds_chooses_nothing() -> None:
    near = [score(10, 9.9, 0.2, 0.11), score(20, 10.5, 0.4, 0.1)]
    best = find_best(BASE, near)
    assert best.score is None
    assert best.reason == OF_STEPS.none
    assert find_best(BASE, [score(10, 9.89, 0.2, 0.1)]).score is not None


def test_steps_farther_than_the_base_choose_nothing() -> None:
    assert find_best(BASE, [score(10, 12.0, 0.2, 0.0)]).score is None


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ([4.0, 5.0, 5.0], (10, 2)),
        ([9.0, 4.0, 5.0, 4.5, 4.2], (20, 3)),
        ([4.0, 5.0], None),  # one further sample
        ([4.0, 5.0, 4.1], None),  # the last one is as near, within its error
        ([4.0, 4.05, 5.0, 5.0], (10, 3)),
        ([4.0, 5.0, 3.0], None),  # it still comes nearer
        ([9.95, 11.0, 11.0], None),  # the best gain is within the noise
        ([11.0, 12.0, 13.0], None),  # no gain at all
        ([], None),
    ],
)
def test_a_run_can_end_once_two_samples_in_succession_are_farther(distances, expected) -> None:
    scores = [score(10 * number, distance, 0.3) for number, distance in enumerate(distances, 1)]
    assert stops_at(BASE, scores) == expected


@pytest.mark.parametrize(
    ("change", "like"),
    [(0.49, STILL_LIKE), (0.5, PARTLY_LIKE), (0.79, PARTLY_LIKE), (0.8, UNLIKE)],
)
def test_the_reason_states_the_gain_and_how_far_the_pictures_resemble_the_bases(change: float, like: Message) -> None:
    assert find_best(BASE, [score(10, 4.4, change)]).reason == reason(like, 10, 56)


def test_the_reason_names_other_steps_that_are_as_near() -> None:
    def others(*scores: Score) -> bool:
        reason = find_best(BASE, [score(10, 4.0, 0.3), *scores]).reason
        return reason.endswith(f" {OTHERS.format(others='step 20')}")

    assert others(score(20, 4.09, 0.4)) and others(score(20, 3.95, 0.4))
    assert not others() and not others(score(20, 4.11, 0.4)) and not others(score(20, 4.0, 0.4, variety=0.4))


def test_nothing_is_chosen_whose_pictures_are_almost_alike() -> None:
    scores = [score(10, 6.0, 0.3), score(20, 2.0, 0.5, variety=0.49)]
    best = find_best(BASE, scores)
    assert best.score is None and best.reason == OF_STEPS.alike.format(step=20)
    assert find_best(BASE, [*scores, score(30, 2.5, 0.6)]).score == score(30, 2.5, 0.6)  # whose pictures are not
    alike = [score(10, 2.0, 0.5, variety=0.4), score(20, 3.0, 0.5, variety=0.3), score(30, 4.0, 0.5, variety=0.2)]
    assert stops_at(BASE, alike) == (10, 2)  # training on does not help them
    assert find_best(BASE, [scores[0], score(20, 2.0, 0.5, variety=0.5)]).score is not None
    earlier = replace(BASE, variety=None), [score(20, 2.0, 0.5, variety=None)]  # recorded by an earlier version
    assert find_best(*earlier).score == earlier[1][0]
