"""The methods: one file and one line here each."""

from __future__ import annotations

from typing import Any

from trainers.adapters.adalora import AdaLoRA
from trainers.adapters.dylora import DyLoRA
from trainers.adapters.full import Full
from trainers.adapters.krona import KronA
from trainers.adapters.loha import LoHA
from trainers.adapters.lokr import LoKr
from trainers.adapters.lora import LoRA
from trainers.adapters.method import LayerMethod
from trainers.adapters.selora import SeLoRA
from trainers.adapters.sora import SoRA
from trainers.adapters.tied import TiedLoRA
from trainers.adapters.vera import VeRA

# The method's section of the config: any of these, told apart by `name`.
Method: Any = LoRA | LoHA | LoKr | KronA | VeRA | TiedLoRA | DyLoRA | AdaLoRA | SoRA | SeLoRA | Full

METHODS: dict[str, type[LayerMethod]] = {cls.name: cls for cls in Method.__args__}
