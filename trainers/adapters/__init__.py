"""The methods: one file and one line here each."""

from __future__ import annotations

from typing import Any

from trainers.adapters.adalora import AdaLoRA
from trainers.adapters.adapter import Adapter
from trainers.adapters.bitfit import BitFit
from trainers.adapters.dylora import DyLoRA
from trainers.adapters.full import Full
from trainers.adapters.ia3 import IA3
from trainers.adapters.krona import KronA
from trainers.adapters.krona_block import KronABlock
from trainers.adapters.loha import LoHA
from trainers.adapters.lokr import LoKr
from trainers.adapters.lora import LoRA
from trainers.adapters.method import Method
from trainers.adapters.oft import OFT
from trainers.adapters.prompts import Prompts
from trainers.adapters.selora import SeLoRA
from trainers.adapters.sora import SoRA
from trainers.adapters.ssf import SSF
from trainers.adapters.tied import TiedLoRA
from trainers.adapters.tlora import TLoRA
from trainers.adapters.vera import VeRA

# The method's section of the config: any of these, told apart by `name`.
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
