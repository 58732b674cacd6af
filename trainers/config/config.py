"""The settings tree, with validation: the source of config files, command line options and the studio's fields.

TOML has no null: an unset value is a missing key, and every field has a default, such as "automatic" or "off".
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator, model_validator

from trainers.adapters.methods import METHODS, MethodSettings
from trainers.adapters.targets import Targets
from trainers.config.limits import Seed
from trainers.config.migrations import VERSION
from trainers.config.names import check_name
from trainers.config.sections import Base, Data, Loss, Prior, Sample, Save, Tokens, Train
from trainers.section import Section, Shown


class Config(Section):
    schema_version: Annotated[Literal[4], Shown(group="previews", place="velatura")] = VERSION
    """Version of the config format; older files keep their meaning."""
    name: Annotated[str, Shown(group="previews", place="step 3", words="output_name")]
    """Name of the run and of the style file."""
    seed: Seed = 0
    """Same seed, same settings, same machine: same file."""
    base: Base = Base()
    data: Data = Data()
    method: MethodSettings = METHODS["lora"]()
    targets: Targets = Targets()
    tokens: Tokens = Tokens()
    loss: Loss = Loss()
    prior: Prior = Prior()
    train: Train = Train()
    sample: Sample = Sample()
    save: Save = Save()

    @property
    def unread_trigger(self) -> str:
        """The trigger word if the base leaves it out of texts; with class images, it has to tell them from yours."""
        return "" if self.data.read_trigger or self.prior.is_on else " ".join(self.data.trigger.split())

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        return check_name(name)

    @model_validator(mode="after")
    def _makes_sense_together(self) -> Config:
        from trainers.config.combinations import check_combination

        check_combination(self)
        return self
