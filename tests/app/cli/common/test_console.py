"""What is shown: tables, sizes, progress, and the sentence of an error."""

from __future__ import annotations

import errno
import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.common.console import print_json, print_table, printable, say, write_what_fits
from app.cli.common.progress import TrainingView
from app.errors import sentence
from app.units import readable_size, readable_speed
from trainers.errors import VelaturaError


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_965_568, "2.0 MB"), (3_460_000_000, "3.5 GB")],
)
def test_sizes_in_units_of_1000(count: int, text: str) -> None:
    assert readable_size(count) == text


@pytest.mark.parametrize(
    ("speed", "text"),
    [
        (50, "0.020 s/step"),
        (2.04, "0.49 s/step"),
        (1, "1.00 s/step"),
        (0.1, "10.0 s/step"),
        (0.004, "250 s/step"),
        (0, "–"),
    ],
)
def test_speeds_in_one_unit(speed: float, text: str) -> None:
    assert readable_speed(speed) == text


@pytest.mark.slow
@given(st.text())
def test_printable_keeps_words_and_drops_orders(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        assert after == (before if before.isprintable() or before in "\n\t" else "�")


@pytest.mark.slow
@given(
    st.recursive(
        st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_one_line_of_ascii(data: Any) -> None:
    written, sys.stdout = sys.stdout, io.StringIO()
    try:
        print_json(data)
        line = sys.stdout.getvalue()
    finally:
        sys.stdout = written
    assert line.isascii() and line.count("\n") == 1
    assert json.loads(line) == data


def test_a_table_folds_between_words_where_there_is_room(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    rows = [("textual-inversion", "of a few kilobytes", "a word of one's own"), ("x", "y", "much longer " * 6)]
    print_table(("method", "size", "what"), rows)
    table = capsys.readouterr().out
    assert max(map(len, table.splitlines())) in (49, 50)
    assert {word for row in rows for cell in row for word in cell.split()} <= set(table.replace("│", " ").split())
    assert len(table.splitlines()) <= 12, "what is longest has the room that is left"


def test_a_table_loses_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "/".join(f"folder{number}" for number in range(12))
    print_table(("name [x]", "where"), [("a [bold]b[/] :fox:", long)])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 40
    cells = [line.split("│")[1:3] for line in shown.splitlines() if line.startswith("│")]
    assert "".join(left.strip() + " " for left, _ in cells).split() == ["a", "[bold]b[/]", ":fox:"]
    assert "".join(right.strip() for _, right in cells) == long
    assert "name [x]" in shown


def test_words_for_people_go_to_standard_error_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("wrote [red]fox[/red] :cat: ", ("[b]", "bold"), "x" * 300)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"wrote [red]fox[/red] :cat: [b]{'x' * 300}\n"


def test_a_stream_that_cannot_write_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    write_what_fits()
    print("føx")
    stream.flush()
    assert stream.buffer.getvalue().split() == [b"f?x"]


# ---------------------------------------------------------------- a run
def lines_of(capsys: pytest.CaptureFixture[str], *events: dict[str, Any]) -> list[str]:
    with TrainingView() as view:
        for event in events:
            view(event)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def step(number: int, steps: int, loss: float = 0.5) -> dict[str, Any]:
    return {"type": "step", "step": number, "steps": steps, "loss": loss, "speed": 2.0}


def test_where_nobody_watches_a_tenth_of_the_steps_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines_of(capsys, *(step(number, 50) for number in range(1, 51)))
    assert [line.split()[1] for line in shown] == ["1/50", *(f"{number}/50" for number in range(5, 51, 5))]
    assert shown[1] == "step 5/50  loss 0.5000  0.50 s/step  22 s left"


def test_the_time_left_is_what_the_run_says(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines_of(capsys, step(1, 2) | {"seconds_left": None}, step(2, 2) | {"seconds_left": 95.0})
    assert [line.split("step  ")[1] for line in shown] == ["–", "1.5 min left"]


def test_the_loss_is_smoothed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines_of(capsys, step(1, 2, 1.0), step(2, 2, 0.0))
    assert [line.split()[3] for line in shown] == ["1.0000", "0.4872"]  # 1 − 0.05 / (1 − 0.95²)


def test_what_happens_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    start = {"name": "dusk", "method": "lora", "base": "my [v2] base", "family": "sd1", "images": 1}
    shown = lines_of(
        capsys,
        {"type": "start", **start, "parameters": 12345, "precision": "bfloat16", "device": "cpu", "resumed": True},
        {"type": "warning", "message": "a [b].png was left out: damaged"},
        {"type": "skipped", "step": 3, "steps": 9, "loss": "nan", "speed": 1.0},
        {"type": "skipped", "step": 4, "steps": 9, "loss": 0.5, "speed": 1.0, "overflow": True},  # usual in fp16
        {"type": "rollback", "step": 9, "saved": 4, "message": "training goes back from step 9 to step 4"},
        {"type": "sample", "step": 4, "pictures": 1},
        {"type": "checkpoint", "step": 4, "path": "step-00000004"},
        {"type": "of a kind not known here"},
    )
    assert shown == [
        "dusk: lora on my [v2] base (sd1), 1 image, 12,345 parameters, bfloat16 on cpu, resumed",
        "a [b].png was left out: damaged",
        "step 3 was skipped: its loss or gradients were not finite",
        "training goes back from step 9 to step 4",
        "drew 1 picture at step 4",
    ]


@pytest.mark.parametrize(
    ("saved", "words"), [(0, "interrupted; nothing new was saved"), (4, "`velatura resume` continues from step 4")]
)
def test_an_interruption_says_what_is_left(saved: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), TrainingView() as view:
        if saved:
            view({"type": "checkpoint", "step": saved})
        raise KeyboardInterrupt
    assert words in capsys.readouterr().err


# ---------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (VelaturaError("one\nsentence"), "one sentence"),
        (OSError(errno.ENOSPC, "No space left"), "the disk is full"),
        (PermissionError(errno.EACCES, "no", "here/x"), "no permission to use here/x"),
        (MemoryError(), "not enough memory: lower train.batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "not enough memory"),
        (MemoryError(), "for generation use a smaller --size or --batch 1"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (KeyError("x"), "something unexpected went wrong (KeyError: 'x'); --debug shows the traceback"),
        (ValueError("first\nsecond"), "(ValueError: first)"),
        (ZeroDivisionError(), "(ZeroDivisionError)"),
    ],
)
def test_an_error_is_one_sentence(error: Exception, words: str) -> None:
    assert words in sentence(error)
    assert "\n" not in sentence(error)
