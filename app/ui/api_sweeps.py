"""The API endpoints of sweeps: a run of a draft for each combination of methods and settings."""
# Gradio reads the types of the endpoints from their signatures, which therefore must not be postponed.

from functools import partial
from typing import Any

import gradio as gr

from app.jobs.states import ENDED
from app.studio.runs.start import OF_FILES, with_orders
from app.studio.services import Services
from app.studio.sweeps.axes import METHOD, SEED, Axis, check_axes
from app.studio.sweeps.draft_sweep import start_draft_sweep
from app.studio.sweeps.results import as_record, ranked, read_result
from app.studio.sweeps.sweep_file import read_sweep
from app.studio.sweeps.sweeps import members, progress
from app.ui.api import NAME_LETTERS, Api, caller
from app.ui.api_schemas import Answer, RefusalError, kindly, must, table_of, text_of, texts_of

OF_THE_COMPUTER = ("base.model", *OF_FILES)
"""Settings that may name files of this computer; `settings` chooses the base of all runs."""


def build(services: Services) -> None:
    """Register the endpoints."""
    api = SweepApi(services)
    gr.api(api.sweep, concurrency_limit=8)
    gr.api(api.sweep_status, queue=False)


class SweepApi(Api):
    """The endpoints. All input is untrusted, including its types."""

    @kindly
    def sweep(
        self,
        draft: str,
        name: str,
        methods: list[str] = [],  # noqa: B006 (Gradio shows it as the default; it is never changed)
        grid: dict[str, Any] = {},  # noqa: B006
        preset: str = "balanced",
        settings: dict[str, Any] = {},  # noqa: B006
        request: gr.Request | None = None,
    ) -> Answer:
        """Queue a run of a draft for each combination of `methods` and of the values in `grid`, by config key."""
        api_draft, actor = self._known(draft, request), caller(request)
        name, choice = text_of(name, "name", NAME_LETTERS), text_of(preset, "preset", NAME_LETTERS)
        find_own = partial(self.services.presets.find, actor.name)
        chosen, table = must(
            "bad_setting", with_orders, api_draft, choice, "starter", table_of(settings, "settings"), find_own
        )
        axes = must("bad_setting", check_axes, _axes(texts_of(methods, "methods", NAME_LETTERS), grid))
        self._check_base(chosen)
        queue, drafts = self.services.queue, self.services.drafts
        sweep = must("bad_setting", start_draft_sweep, queue, drafts, chosen.with_(name=name), axes, actor, table)
        return {"sweep": sweep.name, "runs": [run.name for run in sweep.runs]}

    @kindly
    def sweep_status(self, sweep: str) -> Answer:
        """Progress and results of a sweep's runs, best first."""
        queue = self.services.queue
        record = must("no_sweep", read_sweep, queue.store.runs, text_of(sweep, "sweep", NAME_LETTERS))
        runs = members(record, queue.runs())
        now = progress(runs)
        results = ranked(
            [read_result(run, queue.losses(run.view.job.folder) if run.view is not None else None) for run in runs]
        )
        return {
            "sweep": record.name,
            "of": now.of,
            "done": now.done,
            "running": now.running,
            "waiting": now.waiting,
            "deleted": now.missing,
            "ended": all(member.view is None or member.view.state in ENDED for member in runs),
            "kept": record.kept,
            "runs": [as_record(record.axes, result) for result in results],
        }


def _axes(methods: list[str], grid: dict[str, Any]) -> list[Axis]:
    axes = [Axis((METHOD,), tuple(methods))] if methods else []
    for key, values in table_of(grid, "grid").items():
        if not isinstance(values, list):
            raise RefusalError("bad_value", "grid must have a list of values for {key!r:.80}.", key=key)
        keys = tuple(str(key).split("+"))
        if any(part in OF_THE_COMPUTER or (part != SEED and "." not in part) for part in keys):
            raise RefusalError("bad_value", "{key!r:.80} cannot differ in a sweep.", key=key)
        axes.append(Axis(keys, tuple(values)))
    return axes
