"""The methods that the modules of this folder define, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any, NoReturn, Union, get_args

from pydantic import Field, TypeAdapter, ValidationError, WrapSerializer, WrapValidator

from trainers.adapters.about import Group
from trainers.adapters.method import Method
from trainers.errors import VelaturaError
from trainers.messages import Message


class Methods(dict[str, type[Method]]):
    """Methods by name."""

    def __missing__(self, name: object) -> NoReturn:
        raise VelaturaError(NO_METHOD, name=name, methods=", ".join(self))


NO_METHOD = Message("there is no method {name!r:.80}; available are {methods}")


def _find_methods() -> list[type[Method]]:
    """The method classes of this folder's modules, sorted by group and date of the paper."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    classes = [kind for module in modules for kind in vars(module).values() if _is_method_of(kind, module)]
    return sorted(classes, key=lambda kind: (GROUPS.index(kind.about.group), kind.about.paper))


def _is_method_of(kind: Any, module: ModuleType) -> bool:
    is_method = isinstance(kind, type) and issubclass(kind, Method) and kind.__module__ == module.__name__
    return is_method and hasattr(kind, "name")


GROUPS = get_args(Group)
METHODS = Methods({str(vars(kind)["name"]): kind for kind in _find_methods()})
AnyMethod: Any = Union[tuple(METHODS.values())]  # noqa: UP007 - computed

CLASS = "class"
"""The settings key for the class of a method from outside this package."""


def table_of(method: Method) -> dict[str, Any]:
    """The settings of a method as plain data, with the class of a method from outside this package."""
    named = {} if type(method) in METHODS.values() else {CLASS: _path(type(method))}
    return {**named, **asdict(method)}


def _read(value: Any, of_package: Any) -> Any:
    """A method from its settings, or the method itself; classes defined in this process count too."""
    if isinstance(value, Method):
        return value
    if not isinstance(value, Mapping) or (str(value.get("name")) in METHODS and CLASS not in value):
        return of_package(value)
    name, where = value.get("name"), value.get(CLASS)
    kinds = (kind for kind in reversed([*_subclasses(Method)]) if where in (None, _path(kind)))
    kind = next((kind for kind in kinds if getattr(kind, "name", None) == name), None)
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
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _written(method: Method, of_package: Any) -> Any:
    return of_package(method) if type(method) in METHODS.values() else table_of(method)


MethodSettings = Annotated[AnyMethod, Field(discriminator="name"), WrapValidator(_read), WrapSerializer(_written)]
"""The type of a config's `method` section; `name` selects one."""
