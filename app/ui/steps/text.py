"""Texts of the page that compares the steps of a run."""

from __future__ import annotations

from app.studio.comparison.votes import Candidate
from app.ui.playground.text import HURRY as HURRY
from app.units import counted, number, percent
from trainers.messages import Message as _
from trainers.score.votes import Rating

TITLE, LEAD = _("Compare steps"), _("The same prompts and seeds at every step and strength.")
NOTHING, NO_STEPS = _("Nothing to compare"), _("this run has kept no step with a picture")
FILE = "steps"
CHOICE, STEPS, STRENGTHS, PROMPTS = _("Steps, strengths, prompts"), _("Steps"), _("Strengths"), _("Prompts")
SHOW, DRAW, DRAWN = _("Show"), _("Draw {pictures}"), _("{count} of {total} pictures are drawn.")
DRAWING, PROGRESS = _("Drawing … {done} of {total} pictures"), _("Progress of the drawing")
ZOOM_IN, ZOOM_OUT, ZOOM_FIT, ZOOM = _("Zoom in"), _("Zoom out"), _("Whole pictures"), _("Zoom of all pictures")
KEYS = _(
    "Click a picture. Arrow keys: next picture. + and −: zoom, 0: whole pictures. Shift and arrow keys, or drag: "
    "move all. Ctrl and wheel, or two fingers: zoom."
)
AS_PICTURE, AS_PAGE = _("One picture (PNG)"), _("One web page (HTML)")
GRID, CELL = _("Steps by strengths"), _("step {step}, strength {strength}, {prompt}")
NARROWED = _("Only the steps in closer choice are shown, and the one that you download.")
NOT_DRAWN, COMES, EMPTY_CELL = _("not drawn"), _("Being drawn"), _("{name}: {state}")
KEEP = _("Keep step {step}")
STEP, STRENGTH, SEEDED = _("Step {step}"), _("Strength {strength}"), _("{prompt}, seed {seed}")

# The blind vote
BLIND = _("Blind vote")
BLIND_LEAD = _("Two pictures of the same prompt, without names: choose the one that is better in your style.")
RESULT, TWO_NEEDED = _("Show the result"), _("Voting needs two pictures of the same prompt.")
LEFT, RIGHT, TIE, UNDO = (
    _("The left one is better"),
    _("The right one is better"),
    _("No difference"),
    _("Undo the last vote"),
)
VOTE_KEYS = _("Keys: ← left, → right, ↓ or space no difference, U undo.")
NO_VOTES, VOTED, VOTED_ENOUGH = (
    _("No votes yet."),
    _("Votes: {count}. About {about} give a clear result; you can stop at any time."),
    _("Votes: {count}. That is enough for a result; you can go on."),
)
LATE = _("This did not count, since votes or pictures have changed in the meantime.")
LOOSE = _("Votes: {count}. Some candidates have not met the others yet, directly or by way of a third.")
TOO_FEW = _("Too few votes to tell: {count} of about {about}. About {more} to go.")
AHEAD, LEVEL = _("{candidate} is ahead of the others."), _("After {count} votes none is clearly ahead.")
CANDIDATE, CHANCE = _("Candidate"), _("Chosen over an average one")
CHANCE_IS, VOTES = _("{chance} ({low} to {high})"), _("Votes")
CHANCE_HINT = _("The range holds the true value in 95 of 100 cases. A tie counts half for each.")
AT = _("Step {step} at strength {strength}")


def candidate(which: Candidate) -> str:
    """A step and a strength by name."""
    return AT.format(step=which[0], strength=strength(which[1]))


def cell(step: int, at: float, prompt: str, state: str) -> str:
    """The name of a place of the grid; `state` says why it has no picture."""
    name = CELL.format(step=step, strength=strength(at), prompt=prompt)
    return EMPTY_CELL.format(name=name, state=state) if state else name


def chance(rating: Rating) -> str:
    """The chance of a candidate, with its interval."""
    mean, low, high = map(percent, rating.chances)
    return CHANCE_IS.format(chance=mean, low=low, high=high)


def strength(value: float) -> str:
    """A strength as text."""
    return number(f"{value:g}")


def draw(count: int) -> str:
    """The label of the button that draws so many pictures."""
    return DRAW.format(pictures=counted(count, "picture"))
