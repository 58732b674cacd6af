"""A new setting's field stands behind the others of its class, whatever follows them."""

from __future__ import annotations

import pytest

from tools.new_setting import class_of, insert
from trainers.adapters.methods.lokr import LoKr
from trainers.config.sections import Loss
from trainers.errors import VelaturaError

SOURCE = '''class Other:
    mark: int = 1


class Marks(Other):
    """Marks."""

    about = 3
    first: int = 1
    """The first."""
    second: float = (
        2.0
    )

    def both(self) -> float:
        return self.first + self.second
'''
FIELD = "    third: bool = False\n"


def test_a_field_is_written_behind_the_last_one_and_its_docstring() -> None:
    assert insert(SOURCE, "Marks", "third", FIELD).replace(FIELD, "") == SOURCE
    described = SOURCE.replace("    )\n", '    )\n    """The second."""\n')
    for source, last in ((SOURCE, "    )\n"), (described, '    """The second."""\n')):
        assert f"{last}{FIELD}\n    def both" in insert(source, "Marks", "third", FIELD)
    assert insert(SOURCE, "Other", "third", FIELD).startswith(f"class Other:\n    mark: int = 1\n{FIELD}")


def test_a_field_is_written_behind_a_named_one() -> None:
    changed = insert(SOURCE, "Marks", "third", FIELD, "first")
    assert f'    """The first."""\n{FIELD}    second: float' in changed and changed.replace(FIELD, "") == SOURCE
    with pytest.raises(VelaturaError, match="Marks has no setting fourth"):
        insert(SOURCE, "Marks", "third", FIELD, "fourth")


def test_a_field_that_is_there_is_refused() -> None:
    with pytest.raises(VelaturaError, match="Marks has the setting first already"):
        insert(SOURCE, "Marks", "first", FIELD)


def test_a_section_or_a_method_names_its_class() -> None:
    assert class_of("loss") is Loss and class_of("lokr") is LoKr
    with pytest.raises(VelaturaError, match="'los' is no section and no method; sections are base, data, loss"):
        class_of("los")
