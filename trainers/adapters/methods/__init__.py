"""The methods: one file and one line here each."""

from __future__ import annotations

from typing import Any

from trainers.adapters.method import Method
from trainers.adapters.methods.adalora import AdaLoRA
from trainers.adapters.methods.adapter import Adapter
from trainers.adapters.methods.bitfit import BitFit
from trainers.adapters.methods.dylora import DyLoRA
from trainers.adapters.methods.full import Full
from trainers.adapters.methods.ia3 import IA3
from trainers.adapters.methods.krona import KronA
from trainers.adapters.methods.krona_block import KronABlock
from trainers.adapters.methods.loha import LoHA
from trainers.adapters.methods.lokr import LoKr
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.methods.oft import OFT
from trainers.adapters.methods.prompts import Prompts
from trainers.adapters.methods.selora import SeLoRA
from trainers.adapters.methods.sora import SoRA
from trainers.adapters.methods.ssf import SSF
from trainers.adapters.methods.tied import TiedLoRA
from trainers.adapters.methods.tlora import TLoRA
from trainers.adapters.methods.vera import VeRA

# The type of the config's `method` section; `name` selects one.
AnyMethod: Any = (
    LoRA
    | LoHA
    | LoKr
    | KronA
    | VeRA
    | TiedLoRA
    | DyLoRA
    | AdaLoRA
    | SoRA
    | SeLoRA
    | OFT
    | IA3
    | SSF
    | BitFit
    | TLoRA
    | Adapter
    | KronABlock
    | Prompts
    | Full
)

METHODS: dict[str, type[Method]] = {cls.name: cls for cls in AnyMethod.__args__}
