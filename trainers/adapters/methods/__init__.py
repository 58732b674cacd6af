"""The methods: one file and one line here each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

from pydantic import Field, TypeAdapter, ValidationError, WrapSerializer, WrapValidator

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
from trainers.errors import VelaturaError
from trainers.messages import Message

# The methods of this package.
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


class Methods(dict[str, type[Method]]):
    """Methods by name."""

    def __missing__(self, name: object) -> NoReturn:
        raise VelaturaError(NO_METHOD, name=name, methods=", ".join(self))


NO_METHOD = Message("there is no method {name!r:.80}; available are {methods}")
METHODS = Methods({cls.name: cls for cls in AnyMethod.__args__})

CLASS = "class"
"""Key in settings that names the class of a method which is not in this package."""


def table_of(method: Method) -> dict[str, Any]:
    """The settings of a method as plain data; of one that is not in this package with its class."""
    named = {} if type(method) in METHODS.values() else {CLASS: _path(type(method))}
    return {**named, **asdict(method)}


def _read(value: Any, of_package: Any) -> Any:
    """A method from its settings; also one whose class this process has defined, or an instance of it."""
    if isinstance(value, Method):
        return value
    if not isinstance(value, Mapping) or (str(value.get("name")) in METHODS and CLASS not in value):
        return of_package(value)
    name, where = value.get("name"), value.get(CLASS)
    kinds = (each for each in reversed([*_subclasses(Method)]) if where in (None, _path(each)))
    kind = next((each for each in kinds if getattr(each, "name", None) == name), None)
    if kind is None and where is None:
        return of_package(value)
    if kind is None:
        sentence = "method.name = {name} is the class {where}, which this process lacks; import or define it first"
        raise ValueError(Message(sentence, name=name, where=where))
    try:
        return TypeAdapter(kind).validate_python({k: v for k, v in value.items() if k != CLASS})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("method", *map(str, first["loc"])))
        raise ValueError(Message("{key}: {reason}", key=key, reason=first["msg"])) from None


def _path(kind: type[Method]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _subclasses(kind: type[Method]) -> Iterator[type[Method]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _written(method: Method, of_package: Any) -> Any:
    return of_package(method) if type(method) in METHODS.values() else table_of(method)


MethodSettings = Annotated[AnyMethod, Field(discriminator="name"), WrapValidator(_read), WrapSerializer(_written)]
"""The type of a config's `method` section; `name` selects one."""
