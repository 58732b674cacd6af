"""Preview prompts for a run without any: subjects that its captions do not name, in the captions' form.

Pictures of training captions show how much a style has memorised; pictures of other subjects show the style. The choice
is a function of the captions, so every attempt of a run draws the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from trainers.config.sections import Data, Subjects
from trainers.data.captions import full_caption

COUNT = 4
"""Number of prompts."""

NEW: tuple[tuple[str, ...], ...] = (
    ("a fox", "an owl", "a horse", "a whale", "a hummingbird", "a sleeping cat"),
    ("a lighthouse by the sea", "a street in the rain", "a castle on a hill", "a village in the snow", "a waterfall"),
    ("an old man", "a girl reading a book", "a dancer", "a fisherman", "a queen", "a child with a kite"),
    ("a vase of flowers", "a bowl of fruit", "a sailing ship", "a bicycle", "a teapot", "an armchair"),
)
"""Subjects that every large base knows: an animal, a place, a person, a thing."""
NEW_ON_STARTER: tuple[tuple[str, ...], ...] = (
    ("penguin", "lion", "butterfly", "fox", "owl", "turtle", "fish"),
    ("house", "palm tree", "mountain", "sunflower", "castle", "volcano"),
    ("hamburger", "green apple", "mushroom", "pineapple", "strawberry", "cupcake", "banana"),
    ("guitar", "bicycle", "umbrella", "rocket", "airplane", "locomotive"),
)
"""Subjects from the training set of the bundled base; those that it draws well in a new style come first."""
SCENES = ("on a beach", "in the snow", "in a city street at night", "in a meadow of flowers")
SCENES_ON_STARTER = (", blue background", ", yellow background", ", dark blue background", ", green background")
"""Coloured backgrounds, since the bundled base knows no places."""

ARTICLES = ("a", "an", "the")
SMALL_WORDS = frozenset(
    ("a", "an", "the", "of", "in", "on", "at", "by", "with", "face", "reading", "sleeping", "old", "green", "child")
)
"""Words of a subject that do not count as naming it in a caption."""
WORDS = re.compile(r"[^\W\d_]+")


def suggest_prompts(
    captions: Sequence[str], data: Data, subjects: Subjects, starter: bool, word: str = "", class_prompt: str = ""
) -> tuple[str, ...]:
    """Preview prompts for images with these captions.

    Args:
        captions: The captions without trigger word.
        data: The settings of the images, with the trigger word.
        subjects: `new` subjects, the trained subject in new `scenes`, or the `captions` themselves.
        starter: Whether the base is the bundled one, which knows few subjects.
        word: The learned word.
        class_prompt: The class of the trained subject, such as `a dog`.

    Returns:
        Four prompts; fewer if there are fewer captions to use.
    """
    prompts: list[str] = []
    if subjects == "scenes" and (data.trigger or word or class_prompt):
        named = class_prompt or data.trigger or word
        prompts = [f"{named}{'' if starter else ' '}{scene}" for scene in (SCENES_ON_STARTER if starter else SCENES)]
    elif subjects == "new":
        prompts = [in_form_of(captions, subject) for subject in choose_subjects(captions, starter)]
    prompts = prompts or list(captions)
    return tuple(dict.fromkeys(full_caption(prompt, data, word) for prompt in prompts))[:COUNT]


def choose_subjects(captions: Iterable[str], starter: bool) -> list[str]:
    """Four subjects of different kinds that no caption names; others only if there are no more."""
    named = {stem(word) for caption in captions for word in WORDS.findall(caption.lower())}
    groups = NEW_ON_STARTER if starter else NEW
    fresh = [[subject for subject in group if not names(subject) & named] for group in groups]
    first = [group[0] for group in fresh if group]
    rest = [subject for group in fresh for subject in group[1:]]
    return (first + rest + [group[0] for group in groups])[:COUNT]


def in_form_of(captions: Sequence[str], subject: str) -> str:
    """A subject in the form of the captions: with or without article, between the words that all captions share."""
    rows = [caption.split() for caption in dict.fromkeys(captions) if caption]
    before, after = _shared_opening(rows), _shared_ending(rows)
    rests = [row[len(before) :] for row in rows]
    with_article = not rows or sum(row[0].lower() in ARTICLES for row in rests if row) * 2 > len(rows)
    bare = subject.partition(" ")[2] if subject.partition(" ")[0] in ARTICLES else subject
    if with_article:
        subject = subject if subject != bare else f"{'an' if bare[0] in 'aeiou' else 'a'} {bare}"
    else:
        subject = bare
    ending = " ".join(after)
    joint = "" if not after else ", " if _follows_comma(rows, len(after)) else " "
    return f"{' '.join([*before, subject])}{joint}{ending}"


def names(subject: str) -> set[str]:
    """The words of a subject in the singular, without small words."""
    return {stem(word) for word in WORDS.findall(subject.lower()) if word not in SMALL_WORDS}


def stem(word: str) -> str:
    """A word without its plural ending."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _shared_opening(rows: Sequence[Sequence[str]]) -> list[str]:
    """The words with which all captions begin, up to “of”: `a drawing of`."""
    shared = _shared(rows)
    while shared and shared[-1].lower() != "of":
        shared.pop()
    return shared


def _shared_ending(rows: Sequence[Sequence[str]]) -> list[str]:
    """The words with which all captions end, from a comma or a preposition on: `, black line`, `in ink`."""
    shared = _shared([row[::-1] for row in rows])[::-1]
    for start in range(len(shared)):
        if shared[start].lower() in ("in", "by", "as") or _follows_comma(rows, len(shared) - start):
            return shared[start:]
    return []


def _follows_comma(rows: Sequence[Sequence[str]], length: int) -> bool:
    """Whether the last words of each caption follow a comma."""
    return all(len(row) > length and row[-length - 1].endswith(",") for row in rows)


def _shared(rows: Sequence[Sequence[str]]) -> list[str]:
    """The words with which all captions begin, of several; every caption has a word after them."""
    if len(rows) < 2:
        return []
    least = min(map(len, rows)) - 1
    columns = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return [column[0] for column in columns][:least]
