"""Suggested preview prompts for a draft, the defaults of its run."""

from __future__ import annotations

from app.studio.dataset.drafts import Draft
from app.studio.settings.plan import plan
from trainers.config.config import Config
from trainers.config.presets import STARTER
from trainers.config.sections import Data, Subjects
from trainers.data.subjects import suggest_prompts
from trainers.errors import VelaturaError


def suggested_prompts(draft: Draft, subjects: Subjects | None = None) -> tuple[str, ...]:
    """Four prompts for the draft's pictures and base: the run's defaults, or of other `subjects`."""
    try:
        config = plan(draft, name="style")
    except VelaturaError:  # an invalid setting does not concern prompts
        config = Config(name="style", data=Data(trigger=draft.trigger))
    captions = [picture.caption for picture in draft.pictures if picture.caption]
    chosen = subjects or config.sample.subjects
    starter = draft.choices.base == STARTER
    return suggest_prompts(captions, config.data, chosen, starter, config.tokens.word, config.prior.prompt)
