"""The Playground's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.jobs.job import Job
from app.jobs.store import TRAIN
from app.studio.generation.axes import Value
from app.studio.generation.form import LOST, RESTORED
from app.studio.generation.options import OPTIONS
from app.studio.generation.state import Generation, Stage
from app.studio.generation.values import pixels_in_words
from app.ui.components.text import QUEUE_PROBLEM
from app.units import counted, number, ordinal, readable_time
from trainers.config.limits import AxisKind
from trainers.messages import Message as _
from trainers.messages import joined

TITLE = _("Playground")
LEAD = _("Try a style on new prompts, side by side with the same picture drawn without it.")
NO_STYLES = _("No styles here yet. Train one and try it here; until then you can draw with the plain starter.")
PROMPT, PROMPT_EXAMPLE = _("Prompt"), "a lighthouse"
SAY = _("To activate the style, add:")
STYLES, STYLE, STRENGTH = _("Styles"), _("Style {}"), _("Strength")
STRENGTH_OF, REMOVE_STYLE, ADD_STYLE = _("Strength of {}"), _("Remove {}"), _("Add a style")
MARKS = ("−1", "0", "1", "2")
GONE_NAME = _("No longer here")
PLAIN_ONLY = _("Without a style, the base model draws alone.")
COMPARE = _("Also draw it without the style")
COMPARE_SEVERAL = _("Also draw it without the styles")
COMPARE_HINT = _("The same picture otherwise, side by side.")
COMPARED, ACROSS, DOWN = _("Compare"), _("Along a row"), _("From row to row")
NOTHING, NOTHING_ELSE = _("Nothing"), _("Nothing else")
VALUES_ACROSS, VALUES_DOWN = _("Values along a row"), _("Values from row to row")
AXIS_NAMES: Mapping[AxisKind, str] = {
    "strength": _("Strength"),
    "second_strength": _("Strength of the second style"),
    "step": _("Step of the run"),
    "style": _("Style, each alone"),
    "guidance": _("CFG"),
    "seed": _("Seed"),
    "steps": _("Denoising steps"),
    "sampler": _("Sampler"),
    "words": _("Words of the prompt"),
}
AXIS_HINTS: Mapping[AxisKind, str] = {
    "strength": _("1 is as trained. Or write a range, such as 0-2 [5]."),
    "second_strength": _("1 is as trained. Or write a range, such as 0-2 [5]."),
    "guidance": _("Or write a range, such as 2-8 (+2)."),
    "seed": _("Or write a range, such as 1-4."),
    "steps": _("More take longer. Or write a range, such as 10-40 (+10)."),
    "sampler": _("Names with commas between them."),
    "words": _("The prompt must contain the first; the others take its place."),
}
WORDS_WITH_STRENGTHS = _("With four or more, the strength to keep is marked.")
KEPT_STEPS = _("Kept steps: {steps}.")
NO_KEPT_STEPS = _("No steps of this style were kept.")
WORDS_EXAMPLE = _("fox, cat, owl")
EACH, EACH_HINT = _("One picture with each style"), _("All at once, the same picture otherwise.")
COMPOSE = _("How the styles are combined")
WAYS: Mapping[str, tuple[str, str]] = {
    "sum": (_("Added up"), _("Each style adds what it has learned, at its strength.")),
    "svd": (_("Added up and simplified"), _("Added up, keeping only the main directions of each layer.")),
    "ties": (_("The strongest wins"), _("Keeps a fifth of each style; where they disagree, the stronger one wins.")),
    "dare": (_("Thinned out"), _("Drops half of each style at random, so that they interfere less.")),
    "switch": (_("Taking turns"), _("Five steps with one style, five with the next, and so on.")),
    "composite": (
        _("Blended at every step"),
        _("Averages what all styles predict at each step; two take twice as long."),
    ),
    "k-lora": (
        _("First the content, then the style"),
        _("The first draws the things, the second gives them its look."),
    ),
}
MORE = _("Seed, steps, size and more")
NEGATIVE_WAS = _("Not in the picture (negative prompt): {}")
SEED_OF, COUNT, COUNTS = _("Seed {}"), _("Number of pictures"), ("1", "2", "4", "6", "9")
NEW_SEED, GUIDANCE_IS = _("Another version"), _("CFG {}")
OWN_BASE = _("The style's own: {}")
OWN_SAMPLER = _("The base's own: {}")
SAMPLERS: Mapping[str, str] = {
    "ddim": _("DDIM"),
    "euler": _("Euler"),
    "euler a": _("Euler a"),
    "heun": _("Heun"),
    "dpm++": _("DPM++ 2M"),
    "dpm++ 2m karras": _("DPM++ 2M Karras"),
    "dpm++ 2m quick": _("DPM++ 2M for few steps"),
    "dpm++ 2m sde": _("DPM++ 2M SDE"),
    "unipc": _("UniPC"),
    "lcm": _("LCM"),
}
DRAW, DRAW_SEVERAL = _("Draw"), _("Draw {pictures}")

WAITS, SOON = _("Waits in line, {place} …"), _("Starts in a moment …")
WAITS_FOR, WAITS_BEHIND, WAITS_ABOUT = (
    _("Waits for {behind} …"),
    _("Waits for {behind}, {place} in line …"),
    _("Waits for {behind}, about {time} …"),
)
HURRY, HURRY_HINT = _("Pause it and draw now"), _("{} continues by itself afterwards.")
MAKES_WAY = _("Starts when {} is paused …")
READING = _("Reading the base model …")
WITH_STYLE, WITH_STYLES = _("Drawing with the style … {} of {}"), _("Drawing with the styles … {} of {}")
DRAWING, DRAWING_WITHOUT = _("Drawing … {} of {}"), _("Drawing without it … {} of {}")
FINISHING = _("Writing the picture …")
STOPPING = _("Stopping …")
STAGES: Mapping[Stage, str] = {
    Stage.READING: READING,
    Stage.WRITING: FINISHING,
    Stage.STOPPING: STOPPING,
    Stage.UNKNOWN: QUEUE_PROBLEM,
    Stage.ENDED: "",
}
OTHERS: Mapping[str, str] = {"estimate": _("a measurement"), "caption": _("captions"), "generate": _("another drawing")}
AGAIN = _("Draw it again")
WAITING, AT_WORK, DONE = _("The drawing waits for its turn."), _("Drawing."), _("The picture is ready.")
PROGRESS = _("Progress of the drawing")
AND_MORE, CANCEL_ALL = _("and {} more after it"), _("Cancel all")

YOURS = _("Your last drawings")
NOTHING_DRAWN = _("Your picture appears here.")
COMES, COMES_NEXT = _("Being drawn"), _("Next")
WITH, PLAIN = _("With {}"), _("Without")
KEEP, KEEP_THIS, KEPT, GRID = _("Use this"), _("Use this: {}"), _("In use"), _("Comparison: {across} by {down}")
ENLARGE, USE, EARLIER, LATER = _("Enlarge: {}"), _("Use these settings"), _("Left"), _("Right")
DOWNLOAD_OF, DOWNLOAD_SHEET, DRAWN_BEFORE = _("Download: {}"), _("Download as one sheet"), _("{prompt}, seed {seed}")
STEP_AXIS = _("Step of {}")
STEP_OF, STRENGTH_IS = _("Step {}"), _("Strength {}")
NOTICES: Mapping[str, str] = {
    RESTORED: _("The file with these fields was damaged; it is kept. The fields are as they were one change before."),
    LOST: _("The file with these fields was damaged and cannot be read; it is kept. The fields are reset."),
}


def progress(generation: Generation) -> str:
    """A generation's progress in a sentence."""
    now, request = generation.progress, generation.request
    match now.stage:
        case Stage.WAITING:
            return waits(_called(now.behind), now.place, now.seconds_left)
        case Stage.YIELDING:
            return MAKES_WAY.format(_called(now.behind))
        case Stage.DRAWING if generation.is_series:
            return DRAWING.format(now.done, now.of)
        case Stage.DRAWING:
            return drawing(now.done, generation.record.resolved.steps, len(request.styles), request.compared)
        case stage:
            return STAGES[stage]


def waits(behind: str, place: int, seconds: float | None) -> str:
    """The sentence on a waiting drawing: the job that has the device, its place in line, the seconds until then."""
    if not behind:
        return SOON if place <= 1 else WAITS.format(place=ordinal(place))
    if place > 1:
        return WAITS_BEHIND.format(behind=behind, place=ordinal(place))
    if seconds is not None and place == 1:
        return WAITS_ABOUT.format(behind=behind, time=readable_time(seconds))
    return WAITS_FOR.format(behind=behind)


def drawing(done: int, steps: int, styles: int, compare: bool) -> str:
    """The sentence on a drawing in progress; `done` counts the steps of all its pictures."""
    if not compare:
        return DRAWING.format(done, steps)
    if done > steps:
        return DRAWING_WITHOUT.format(done - steps, steps)
    return (WITH_STYLE if styles == 1 else WITH_STYLES).format(done, steps)


def _called(job: Job | None) -> str:
    """The name of a job that a drawing waits for, or ""."""
    if job is None:
        return ""
    return job.name if job.kind == TRAIN else OTHERS.get(job.kind, job.kind)


def way(compose: str) -> str:
    """The name of a way of combining styles, with its number unless it is the default."""
    name, _colon, value = compose.partition(":")
    title = WAYS.get(name, (name, ""))[0]
    return _("{title} ({number})", title=title, number=number(value)) if value else title


def settings(values: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a picture as texts by option, without defaults and those shown elsewhere."""
    return {name: setting for name, value in values.items() if (setting := _setting(name, value))}


def _setting(name: str, value: Any) -> str:
    match name:
        case "seed":
            return SEED_OF.format(value)
        case "steps":
            return counted(value, "step")
        case "guidance":
            return GUIDANCE_IS.format(number(f"{value:g}"))
        case "size":
            return pixels_in_words(value) if value[0] else ""
        case "sampler":
            return SAMPLERS.get(value, value)
        case "negative" | "base":
            return ""
    option = OPTIONS[name]
    return joined(" ", (option.noun, number(option.write(value)))) if value != option.default else ""


def axis_value(kind: AxisKind, value: Value, names: Sequence[str], named: bool = True) -> str:
    """A value on an axis, with the axis's name unless that is shown elsewhere."""
    written = number(f"{value:g}") if isinstance(value, float) else str(value)
    match kind:
        case "strength":
            return STRENGTH_IS.format(written) if named else written
        case "second_strength":
            name = names[1] if len(names) > 1 else ""
            return joined(" ", (name, written)) if named else written
        case "style":
            return names[int(value) - 1] if int(value) <= len(names) else written
        case "step":
            return STEP_OF.format(written) if named else written
        case "seed":
            return SEED_OF.format(written)
        case "guidance":
            return GUIDANCE_IS.format(written) if named else written
        case "steps":
            return counted(int(value), "step")
        case "sampler":
            return SAMPLERS.get(str(value), str(value))
    return str(value)


def axis_name(kind: AxisKind, names: Sequence[str]) -> str:
    """The name of an axis."""
    styled = {"strength": 0, "second_strength": 1, "step": 0}.get(kind)
    if styled is None or styled >= len(names):
        return AXIS_NAMES[kind]
    return (STEP_AXIS if kind == "step" else STRENGTH_OF).format(names[styled])


def draw(count: int) -> str:
    """The label of the *Draw* button."""
    return DRAW_SEVERAL.format(pictures=counted(count, "picture")) if count > 1 else DRAW


def pictures(count: str) -> str:
    """A number of pictures as text."""
    return counted(int(count), "picture")


def strengths(values: Sequence[float]) -> str:
    """The strengths of one or two styles as text."""
    return joined(" × ", [number(f"{value:g}") for value in values])


def at_strength(name: str, strength: float) -> str:
    """A style's name and strength."""
    return joined(" ", (name, strengths((strength,))))


def choice(title: str, why: str) -> str:
    """The label of an option, with the reason why it does not fit."""
    return _("{title} – {why}", title=title, why=why) if why else title
