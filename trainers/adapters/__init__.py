"""The methods: one file and one line here each."""

from __future__ import annotations

from typing import Any

from trainers.adapters.loha import LoHA
from trainers.adapters.lokr import LoKr
from trainers.adapters.lora import LoRA
from trainers.adapters.method import LayerMethod

METHODS: dict[str, type[LayerMethod]] = {cls.name: cls for cls in (LoRA, LoHA, LoKr)}

# The method's section of the config: any of the above, told apart by `name`.
Method: Any = LoRA | LoHA | LoKr
