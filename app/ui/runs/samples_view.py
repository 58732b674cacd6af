"""The samples of a run as HTML: the grid of prompts and steps."""

from __future__ import annotations

from pathlib import Path

from app.jobs.views import View
from app.studio.runs.samples import Sample, find_samples, prompts_of, put_sample
from app.ui.runs import text as words
from app.ui.web.html import file_address, text, wide_table


def address(sample: Sample, public: Path, small: bool) -> str:
    """Where a browser finds a sample; another picture has another address."""
    return file_address(put_sample(sample, public, small))


def grid(view: View, public: Path) -> str:
    """A table of all samples: rows are prompts, columns steps. It grows only to the right."""
    columns = find_samples(view.job.folder)
    if not columns:
        return f'<p class="hint">{text(words.NO_SAMPLES)}</p>'
    prompts = prompts_of(view, max(len(column) for column in columns))
    heads = "".join(f'<th scope="col">{text(column[0].title)}</th>' for column in columns)
    rows = []
    for row, prompt in enumerate(prompts):
        cells = "".join(_cell(column, row, prompt, public) for column in columns)
        rows.append(f'<tr><th scope="row">{text(prompt)}</th>{cells}</tr>')
    return wide_table(words.SAMPLES, "grid", f"<tr><td></td>{heads}</tr>{''.join(rows)}")


def sample_button(sample: Sample, title: str, prompt: str, public: Path) -> str:
    """A sample as a button that shows it large; `title` is the head of its column."""
    return (
        f'<button type="button" data-whole="{text(address(sample, public, False))}" '
        f'data-title="{text(title)}" aria-label="{text(prompt)}, {text(title)}">'
        f'<img loading="lazy" src="{text(address(sample, public, True))}" alt=""></button>'
    )


def _cell(column: list[Sample], row: int, prompt: str, public: Path) -> str:
    sample = next((each for each in column if each.row == row), None)
    if sample is None:
        return "<td></td>"
    return f"<td>{sample_button(sample, sample.title, prompt, public)}</td>"
