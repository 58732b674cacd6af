"""Starts a setting: `python -m tools.new_setting KEY TYPE DEFAULT [AFTER]`, such as `loss.snr_soft bool False kind`.

KEY is `section.name`, or `METHOD.name` for a setting of one method. Writes the field behind the field AFTER of its
class, or behind all others; TODO marks the line that is yours to write, and `make setting-check NAME=KEY` lists what is
missing.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

from tools.command import reports_errors
from tools.new_method import ROOT, generate
from trainers.errors import VelaturaError

FIELD = '    {name}: {kind} = {default}\n    """TODO: what it does, with the unit; what 0 or off means."""\n'
NEXT = """
Yours to write, in this order:
  {file}: the meaning{bounds}; where the name does not make
  its title, or it belongs to another group than its section: Annotated[{kind}, Shown(title="…", group="…")]
  the code that reads it, and a test of its formula that mirrors that module
  trainers/config/combinations.py: where it has no effect with other settings, it is refused
  trainers/models/families: where a family cannot use it, `config_problems` refuses it
  trainers/training/check_fit.py: where it has no effect on the loaded base, it is refused
  tests/trainers/training/knobs/test_refusals.py: a row for each of these refusals
  tests/trainers/training/knobs: a row where it does not show in the weights by itself
  CHANGELOG.md: a line under *Unreleased*; old runs need no migration, since the default changes nothing
Then run: make setting-check NAME={key}
"""


def class_of(section: str) -> type:
    """The class with the settings of a section or a method; VelaturaError if there is none."""
    from trainers.adapters.methods import METHODS
    from trainers.config.config import Config

    sections = {name: field.annotation for name, field in Config.model_fields.items() if name != "method"}
    kind = METHODS.get(section) or sections.get(section)
    if not isinstance(kind, type) or not hasattr(kind, "__pydantic_fields__"):
        names = sorted(name for name, each in sections.items() if hasattr(each, "__pydantic_fields__"))
        raise VelaturaError(
            "{section!r} is no section and no method; sections are {names}", section=section, names=", ".join(names)
        )
    return kind


def insert(source: str, class_name: str, name: str, field: str, after: str = "") -> str:
    """The source with a field behind the others of a class, or behind the field `after`.

    Raises VelaturaError if the class has it already, or not the field `after`.
    """
    tree = ast.parse(source)
    kind = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == class_name)
    fields = {
        node.target.id: (place, node)
        for place, node in enumerate(kind.body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    if name in fields:
        raise VelaturaError("{kind} has the setting {name} already", kind=class_name, name=name)
    if after and after not in fields:
        raise VelaturaError("{kind} has no setting {name}", kind=class_name, name=after)
    place, last = fields[after or [*fields][-1]]
    described = kind.body[place + 1] if place + 1 < len(kind.body) else last
    end = described.end_lineno if isinstance(described, ast.Expr) else last.end_lineno
    lines = source.splitlines(keepends=True)
    return "".join((*lines[:end], field, *lines[end:]))


@reports_errors
def main(*words: str) -> int:
    """Write a setting's field, and what is generated from it."""
    if len(words) not in (3, 4) or words[0].count(".") != 1:
        raise VelaturaError("give key, type and default: python -m tools.new_setting loss.snr_soft bool False [AFTER]")
    key, kind, default, *after = words
    section, name = key.split(".")
    owner = class_of(section)
    path = Path(inspect.getsourcefile(owner) or "")
    source = path.read_text(encoding="utf-8")
    changed = insert(source, owner.__name__, name, FIELD.format(name=name, kind=kind, default=default), *after)
    path.write_text(changed, encoding="utf-8")
    generate()
    bounds = f"; bounds as Field({default}, ge=0, le=1)" if kind in ("int", "float") else ""
    print(NEXT.format(file=path.relative_to(ROOT), bounds=bounds, kind=kind, key=key), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
