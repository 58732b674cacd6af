"""A studio in which everything that somebody can name, write or bring in is made for a page."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from app.jobs.processes.process import own_identity
from app.jobs.store import TRAIN, NewJob
from app.jobs.trash.trash import CONTENT, DRAWING, RUN, STYLE, Trash, new_item
from app.studio.dataset.drafts import Draft, Drafts, LeftOut, Picture
from app.studio.dataset.uploads import take_folder
from app.studio.generation.form import FormStore, GenerateForm
from app.studio.generation.record import Record
from app.studio.generation.request import GenerateRequest, StyleRef
from app.studio.paths import Paths
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import NOTE_KEYS
from app.studio.styles.library import StyleLibrary
from app.studio.sweeps.sweep_file import KeptAxis, KeptRun, Sweep, write_sweep
from tests.app.jobs.working import CPU
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.trainers.tiny_runs import write_images
from trainers.runs.events import Recorder

VISITOR = "bob"
"""Who looks at all of it."""
SHORT = '"><img id=grown src=x onerror=ran=1><svg id=grown onload=ran=1>${ran=1}{{ran=1}}'
"""Fits into 80 letters and needs neither slash nor colon, so that it can be the name of a file or a person."""
LONG = (
    "' onfocus=ran=1 autofocus x=' </textarea></title></script><script id=grown>ran=1</script>"
    "<a id=grown href=javascript:ran=1>x</a>[x](javascript:ran=1)![x]({site}/markdown.png)[x]({site}/)"
    '<p id=grown style="background:url({site}/css.png)">x</p><iframe id=grown srcdoc="<script>top.ran=1</script>">'
    "<style id=grown>body{{background:url({site}/sheet.png)}}</style>"
)


class Things:
    """What lies in the studio; each field begins with a mark of its own, by which it is found on a page."""

    def __init__(self, runs: Path, site: str) -> None:
        self.paths, self.site = Paths(runs), site
        self.paths.make()
        self.queue = StudioQueue(self.paths)
        self.runs: dict[str, str] = {}
        """The names of runs, by what is the matter with each."""

    def short(self, mark: str) -> str:
        """A text of few letters."""
        return f"at-{mark}-{SHORT}"

    def long(self, mark: str) -> str:
        """A text as long as one likes."""
        return f"{self.short(mark)}{LONG.format(site=self.site)}"

    def write(self) -> None:
        """Put everything there."""
        for write in (self._run_at_work, self._ended_runs, self._waiting_run, self._sweep, self._styles, self._trash):
            write()
        self._generations()
        self._draft()
        self.queue.store.close()

    # ---------------------------------------------------------------- runs
    @property
    def owner(self) -> str:
        """A person's name."""
        return self.short("owner")

    def _run(self, mark: str, owner: str, ended: bool = True, **settings: dict[str, object]) -> Path:
        """A run whose folder has such a name."""
        name = self.short(mark)
        run = write_run(self.paths.runs, mark, {"train": {"steps": 4, "warmup": 0}, **settings}, [self.long("prompt")])
        run = run.rename(self.paths.runs / name)
        style = run / "style" / f"{mark}.safetensors"
        save_file(load_file(style), run / "style" / f"{name}.safetensors", {"velatura.trigger": self.short("trained")})
        style.unlink()
        self.runs[mark] = name
        if ended:
            self.queue.store.add(NewJob(TRAIN, run, owner=owner), phase="ended")
        return run

    def _run_at_work(self) -> None:
        run = self._run("going", self.owner, ended=False)
        store = self.queue.store
        store.add(NewJob(TRAIN, run, owner=self.owner))
        claimed = store.claim(CPU.choose, own_identity())
        assert claimed is not None and store.begin(claimed.id, claimed.token, own_identity())
        record = Recorder(run)
        record("anew")
        record("attempt", number=1)
        record("loading", base=self.long("loading"))

    def _ended_runs(self) -> None:
        self._run("mine", VISITOR)
        told = self._run("told", self.owner)
        write_snapshot(told, 2)
        record = Recorder(told)
        record("anew")
        facts = {name: self.long(name) for name in ("method", "base", "device")}
        record("start", steps=4, images=12, prompts=[self.long("prompt")], **facts)
        record("checkpoint", step=2, name=self.long("event"))
        record("error", message=self.long("error"), step=3)
        (told / "process.log").write_text(self.long("printed"), encoding="utf-8")
        broken = self._run("broken", self.owner)
        with (broken / "config.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n# {self.long('note')}\n[{self.long('section')}\n")
        cloned = self._run("cloned", self.owner, data={"trigger": self.short("trigger")})
        pictures = write_images(cloned / "dataset")
        for path in sorted(pictures.glob("*.txt")):
            path.write_text(self.long("caption"), encoding="utf-8")
        (pictures / f"{self.short('file')}.png").write_text("no picture", encoding="utf-8")

    def _waiting_run(self) -> None:
        run = self._run("waiting", self.owner, ended=False, base={"model": self.long("planned")})
        (run / "events.jsonl").unlink()
        self.queue.store.add(NewJob(TRAIN, run, owner=self.owner, wants=self.long("wants")))

    @property
    def sweep(self) -> str:
        """The name of a sweep."""
        return self.short("sweep")

    def _sweep(self) -> None:
        """A sweep of a run that is there and one that was deleted, over a value that somebody has typed."""
        swept, gone = self._run("swept", self.owner), self.short("gone")
        del self.runs["swept"]  # the list shows the sweep in its place
        axis = KeptAxis(keys=("method.name",), values=(self.short("value"), "lora"))
        kept = [KeptRun(name=swept.name, values=axis.values[:1]), KeptRun(name=gone, values=axis.values[1:])]
        sweep = Sweep(id="1", name=self.sweep, owner=self.owner, made=1.0, kept_axes=(axis,), runs=tuple(kept))
        write_sweep(self.paths.runs, sweep, [swept])

    # ---------------------------------------------------------------- styles and trash
    def _styles(self) -> None:
        tensors = load_file(self._file_of("mine"))
        called = {"modelspec.trigger_phrase": self.short("phrase")}
        told = {key: self.long(note_mark(key)) for key in NOTE_KEYS}
        told |= {key: self.long("key") for key in ("modelspec.thumbnail", "ss_network_module", "ss_output_name")}
        tags = {"ss_tag_frequency": json.dumps({self.long("folder"): {self.short("tag"): 9}})}
        for number, (mark, more) in enumerate({"phrased": called, "tagged": tags}.items(), 2):
            path = self.paths.styles / f"{self.short(mark)}.safetensors"
            save_file({key: number * tensor for key, tensor in tensors.items()}, path, told | more)
        ids = {item.id: self.owner for item in StyleLibrary(self.queue).entries() if not item.run}
        (self.paths.styles / ".owners.json").write_text(json.dumps(ids), encoding="utf-8")

    def _file_of(self, mark: str) -> Path:
        name = self.runs[mark]
        return self.paths.runs / name / "style" / f"{name}.safetensors"

    def _trash(self) -> None:
        trash, root = Trash(self.queue.store), self.paths.root
        for kind in (STYLE, DRAWING, RUN):
            place = root / f"thrown {kind}"
            shutil.copyfile(self._file_of("mine"), place)
            trash.put(new_item(kind, self.long(f"thrown-{kind}"), VISITOR, {CONTENT: place}, self.paths.runs))

    # ---------------------------------------------------------------- what is the visitor's
    def _generations(self) -> None:
        key = f"user:{VISITOR}"
        request = GenerateRequest(
            prompts=(self.long("wish"),), negative=self.long("negative"), styles=(StyleRef(style="none"),)
        )
        told = {"request": request, "whose": key, "names": (self.long("style"),), "base": self.long("model")}
        for number, (state, error) in enumerate({"finished": "", "failed": self.long("line")}.items()):
            folder = self.paths.root / "drawings" / f"drawing-{number:020d}-aa"
            folder.mkdir(parents=True)
            if not error:
                picture = self.paths.runs / self.runs["mine"] / "samples/final/00.png"
                shutil.copyfile(picture, folder / "picture.png")
            record = Record.model_validate({**told, "number": 99, "made": 1.0, "state": state, "error": error})
            (folder / "generation.json").write_text(record.model_dump_json(), "utf-8")
        typed = {name: self.long(f"typed-{name}") for name in ("prompt", "negative", "seed", "size", "base")}
        FormStore(self.paths).keep(key, GenerateForm(**typed, styles=(("none", self.long("typed-strength")),)))

    def _draft(self) -> None:
        drafts, key = Drafts(self.paths), f"user:{VISITOR}"
        take_folder(drafts, key, write_images(self.paths.root / "images"))
        drafts.change(key, partial(_hostile, self))


def _hostile(things: Things, draft: Draft) -> Draft:
    def picture(one: Picture) -> Picture:
        told = {name: things.long(name) for name in ("name", "caption", "rival")}
        return one.model_copy(update=told)

    return draft.with_(
        pictures=tuple(map(picture, draft.pictures)),
        left_out=(LeftOut(id="x", name=things.long("left"), reason=things.long("reason")),),
        trigger=things.long("trigger"),
        name=things.long("called"),
        prompts=(things.long("preview"),),
        choices=draft.choices.model_copy(update={"settings": {"base.revision": things.long("setting")}}),
    )


def note_mark(key: str) -> str:
    """The mark of what a file says of itself under a metadata key."""
    return re.sub("[._]", "-", key)
