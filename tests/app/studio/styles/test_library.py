"""The style library: styles of real runs and files from strangers, out and in."""

from __future__ import annotations

import json
import os
import pickle
import time
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from markupsafe import escape
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from app.jobs import actions
from app.jobs.permissions import MACHINE_OWNER
from app.studio.base_models import Bases
from app.studio.dataset.drafts import Draft, parse
from app.studio.generation.compatibility import check_compatibility, resolve_files
from app.studio.generation.request import StyleRef, make_request
from app.studio.paths import Paths, UploadFolder
from app.studio.runs.chosen import star
from app.studio.runs.start import with_orders
from app.studio.settings.plan import choose, plan, with_choices, with_setting
from app.studio.studio_queue import StudioQueue
from app.studio.styles.entry import NOTE_KEYS, READ_AS, StyleEntry
from app.studio.styles.library import StyleLibrary
from app.studio.styles.train_on import start_from_nothing, train_on
from app.ui.components import text as shared
from app.ui.components.download_menu import find_offers
from app.ui.document.templates import macro, render
from app.ui.styles import text as words
from app.ui.styles.view import read_card
from tests.app.jobs.working import do_next
from tests.app.ui.ended_runs import write_run, write_snapshot
from tests.trainers.tiny_runs import ALONE, METHODS, equal, quick_settings, write_images
from trainers.config.build import read_config
from trainers.errors import VelaturaError
from trainers.formats.embedding import style_of_run
from trainers.formats.inspect import describe_style
from trainers.formats.write import peft
from trainers.formats.write.peft import write_peft_oft
from trainers.runs.run import Run

NASTY = "<b>blot</b> ${document.title='x'} {{1+1}} \"'\u202e\n"
LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": torch.ones(8, 2),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": torch.ones(2, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha": torch.tensor(1.0),
}
DORA = {**LORA, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.dora_scale": torch.ones(8, 1)}


def download_menu(library: StyleLibrary, item: StyleEntry) -> str:
    return macro("download_menu", find_offers(library, item))


def card(library: StyleLibrary, item: StyleEntry) -> str:
    return render("styles/card.html", card=read_card(library, item, None, MACHINE_OWNER))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_bases: dict[str, Path]) -> StyleLibrary:
    """A plain LoRA that has finished, a LoHA with a trigger that was stopped, and a run that waits."""
    folder = tmp_path_factory.mktemp("library")
    paths, images = Paths(folder / "outputs"), write_images(folder / "images")
    paths.make()
    library = StyleLibrary(StudioQueue(paths))
    for name, layers in (
        ("plain one", ()),
        ("soft", ({"method": METHODS["loha"], "data": {"trigger": "soft style"}, "train": {"steps": 50}},)),
    ):
        actions.add(
            library.queue.store, quick_settings(tiny_bases["sd1"], images, {"name": name}, *layers), actor=MACHINE_OWNER
        )
    Run(paths.runs / "soft").ask_to_stop("save")
    assert [do_next(library.queue.store).state for _ in range(2)] == ["finished", "stopped"]
    actions.add(
        library.queue.store, quick_settings(tiny_bases["sd1"], images, {"name": "waiting"}), actor=MACHINE_OWNER
    )
    return library


@pytest.fixture
def library(tmp_path: Path) -> StyleLibrary:
    """One with nothing on it."""
    paths = Paths(tmp_path / "outputs")
    paths.make()
    return StyleLibrary(StudioQueue(paths))


def send(
    library: StyleLibrary, content: bytes | Mapping[str, Tensor], name: str, owner: str = "", **metadata: str
) -> StyleEntry:
    """Take a file in as a page does: it is uploaded, and must be gone afterwards, whatever comes of it."""
    server = UploadFolder(library.paths)
    folder = server.path / "one upload"
    folder.mkdir()
    upload = folder / "upload.safetensors"
    upload.write_bytes(content if isinstance(content, bytes) else save(dict(content), metadata))
    try:
        return library.take_in(upload, name, owner=owner)
    finally:
        left = [path.name for path in server.path.rglob("*") if path.name != ".held"]
        server.close()
        assert left == []


def by_name(library: StyleLibrary) -> dict[str, StyleEntry]:
    return {item.name: item for item in library.entries()}


def test_styles_of_runs_are_there_with_what_they_are(trained, tiny_bases):
    items = by_name(trained)
    assert list(items) == ["soft", "plain one"]
    soft, plain = items["soft"], items["plain one"]
    assert (soft.method, soft.words, soft.run, soft.family) == ("loha", ("soft style",), "soft", "sd1")
    assert (plain.method, plain.words, plain.base, plain.starter) == ("lora", (), "sd1", False)
    assert plain.base_model == str(tiny_bases["sd1"]) and plain.path.is_file()
    assert (plain.size, plain.made) == (plain.path.stat().st_size, plain.path.stat().st_mtime)
    assert plain.id != soft.id and plain.id.isalnum() and trained.entry(plain.id) == plain
    assert [trained.entry(id) for id in ("", "..", plain.id.upper() + "x", "plain one")] == [None] * 4
    assert StyleLibrary(StudioQueue(trained.paths)).entries() == trained.entries(), "the same after a restart"


def test_a_draft_starts_from_a_style_with_what_its_file_has(trained):
    items = by_name(trained)
    draft = train_on(with_choices(Draft(id="x", public="y"), preset="quick"), items["plain one"])
    config = plan(draft)
    assert (
        config.train.start_from == str(items["plain one"].path) and config.base.model == items["plain one"].base_model
    )
    assert (config.method.name, config.method.rank, config.method.alpha) == ("lora", 3, 2.0)
    assert (config.targets.unet, config.targets.text_encoder) == ("attn-mlp", "none")
    assert plan(with_choices(draft, start="")).train.start_from == ""
    on_soft = plan(train_on(draft, items["soft"]))
    assert (on_soft.method.name, on_soft.train.start_from) == ("loha", str(items["soft"].path))
    with pytest.raises(VelaturaError, match="cannot be set here"):
        with_orders(draft, "balanced", "starter", {"train.start_from": "/etc/passwd"})
    assert all("start=" in card(trained, item) for item in items.values())


def test_a_draft_without_its_style_has_the_choices_from_before(trained):
    item = by_name(trained)["plain one"]
    loha = choose(choose(Draft(id="x", public="y"), "preset", "faithful"), "method", "loha")
    before = with_choices(with_setting(loha, "method.rank", "5"), imported="train.bat")
    on_style = train_on(before, item)
    assert on_style.choices.method != "loha" and start_from_nothing(on_style).choices == before.choices
    assert start_from_nothing(train_on(on_style, item)).choices == before.choices, "chosen twice"
    assert start_from_nothing(parse(on_style.model_dump_json().encode())).choices == before.choices, "kept in its file"
    longer = start_from_nothing(with_setting(on_style, "train.steps", "77"))
    assert longer.choices == with_setting(before, "train.steps", "77").choices, "what was changed since stays"
    quick = choose(on_style, "preset", "quick")
    assert start_from_nothing(quick).choices == with_choices(quick, start="").choices
    of_earlier_version = on_style.with_(around_start=None)
    assert start_from_nothing(of_earlier_version).choices == with_choices(on_style, start="").choices


def test_a_style_for_a_base_that_is_not_trained_is_refused_with_the_nearest(library, tmp_path):
    layer = "diffusion_model.double_blocks.0.img_attn.proj"
    file = tmp_path / "klein.safetensors"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 6144), f"{layer}.lora_B.weight": torch.ones(6144, 2)}, file)
    item = send(library, file.read_bytes(), file.name)
    sentence = " is a style for FLUX.2 dev, which Velatura does not train; the nearest base that it trains is Flux.1"
    with pytest.raises(VelaturaError, match=f"^klein.safetensors{sentence}"):
        train_on(Draft(id="x", public="y"), item)
    request = make_request(prompts=("a fox",), styles=[StyleRef(style=item.id)])
    problems = check_compatibility(request, {item.id: item}, Bases(anywhere=False)).problems
    assert problems["base"].startswith(f"klein.safetensors{sentence}") and list(problems) == ["base"]
    with pytest.raises(VelaturaError, match=f"^klein.safetensors{sentence}"):
        resolve_files(make_request(prompts=("a fox",), styles=[StyleRef.parse(str(file))]))


def test_what_has_been_read_is_not_read_again(trained, monkeypatch):
    before = trained.entries()

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("app.studio.styles.entry.summarise_header", fail)
    assert trained.entries() == before


def test_files_go_out_under_good_names(trained):
    soft, plain = (by_name(trained)[name] for name in ("soft", "plain one"))
    files = {(i.name, f): trained.download(i, f) for i in (soft, plain) for f in ("safetensors", "diffusers", "toml")}
    names = {key: path.name for key, path in files.items()}
    assert names["soft", "safetensors"] == "soft.safetensors"
    assert names["soft", "diffusers"] == "soft-diffusers.safetensors"
    assert names["plain one", "diffusers"] == "plain one.safetensors", "diffusers reads the same file"
    assert names["plain one", "toml"] == "plain one.toml"
    assert all(path.is_relative_to(trained.paths.public) for path in files.values())
    assert equal(load_file(files["soft", "safetensors"]), load_file(soft.path))
    assert describe_style(files["soft", "diffusers"]).method == "lora"
    assert read_config(files["soft", "toml"]).name == "soft"
    assert tomllib.loads(files["plain one", "toml"].read_text("utf-8"))["method"]["rank"] == 3
    assert trained.download(soft, "safetensors") == files["soft", "safetensors"], "one address for one state"
    with pytest.raises(VelaturaError, match="there is no format 'ckpt'"):
        trained.download(soft, "ckpt")


def test_the_folder_for_peft_goes_out_packed(library):
    run = write_run(library.paths.runs, "turned", {"train": {"steps": 4, "warmup": 0}})
    (item,) = library.entries()
    assert 'data-fetch="peft ' not in download_menu(library, item)
    with pytest.raises(VelaturaError, match="“turned” has no PEFT file"):
        library.download(item, "peft")
    folder = write_peft_oft(run / "style" / f"turned{peft.PEFT_SUFFIX}", {"mid_block.proj": torch.zeros(2, 4, 4)})
    library.rename(item, "soft", actor=MACHINE_OWNER)
    (item,) = library.entries()
    assert 'data-fetch="peft ' in download_menu(library, item)
    file = library.download(item, "peft")
    assert file.name == "soft-peft.zip"
    with zipfile.ZipFile(file) as packed:
        names = {f"soft-peft/{path.name}": path.read_bytes() for path in folder.iterdir()}
        assert {name: packed.read(name) for name in packed.namelist()} == names and len(names) == 2


def test_a_file_is_offered_for_the_programs_that_read_it(library):
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    turned = {f"{stem}.oft_blocks": torch.zeros(2, 4, 4), f"{stem}.alpha": torch.tensor(0.0)}
    metadata = {"modelspec.architecture": "stable-diffusion-v1/lora"}
    for name, tensors, label in (
        ("plain", LORA, "For ComfyUI, A1111, Forge, InvokeAI"),
        ("turned", turned, "For ComfyUI, A1111"),
        (
            "dotted",
            {key.replace("lora_unet_down", "unet.down"): tensor for key, tensor in LORA.items()},
            shared.AS_IT_IS,
        ),
    ):
        assert f"<b>{label}</b>" in download_menu(library, send(library, tensors, f"{name}.safetensors", **metadata)), (
            name
        )


def test_files_of_transformers_are_offered_for_the_programs_that_read_them(library):
    stem, flux = "diffusion_model.layers.0.attention.to_q", "transformer.single_transformer_blocks.0"
    lokr = {"lokr_w1": torch.ones(4, 4), "lokr_w2": torch.ones(12, 12), "alpha": torch.tensor(1.0)}
    sides = {"lora_A.weight": torch.ones(2, 8), "lora_B.weight": torch.ones(8, 2)}
    single = send(
        library,
        {f"{stem}.{name}": tensor for name, tensor in lokr.items()},
        "a.safetensors",
        **{"velatura.family": "z-image"},
    )
    plain = send(library, {f"{flux}.proj_out.{name}": tensor for name, tensor in sides.items()}, "b.safetensors")
    one, other = find_offers(library, single)[:2]
    assert (one.label, other.told) == ("For ComfyUI", shared.SAME_FILE), "diffusers loads the same file"
    assert find_offers(library, plain)[0].label == "For ComfyUI, Forge", "InvokeAI looks for attention"
    assert library.download(single, "diffusers") == library.download(single, "safetensors")


def test_words_go_out_beside_their_style_or_alone(tmp_path, tiny_bases):
    paths, images = Paths(tmp_path / "outputs"), write_images(tmp_path / "images")
    paths.make()
    library = StyleLibrary(StudioQueue(paths))
    word = {"tokens": {"word": "<dusk>"}, "train": {"steps": 1}}
    for name, layers in (("beside", (word,)), ("alone", (ALONE, word))):
        actions.add(
            library.queue.store, quick_settings(tiny_bases["sd1"], images, {"name": name}, *layers), actor=MACHINE_OWNER
        )
    assert [do_next(library.queue.store).state for _ in range(2)] == ["finished", "finished"]
    beside, alone = (by_name(library)[name] for name in ("beside", "alone"))
    assert (beside.method, beside.words) == ("lora", ("<dusk>",))
    assert (alone.method, alone.words, alone.family) == ("textual-inversion", ("<dusk>",), "sd1")
    library.rename(beside, "soft", actor=MACHINE_OWNER)
    beside = by_name(library)["soft"]
    file = library.download(beside, "embedding")
    assert file.name == "soft-embedding.safetensors" and describe_style(file).method == "textual-inversion"
    assert 'data-fetch="embedding ' in download_menu(library, beside) and 'data-fetch="embedding ' not in download_menu(
        library, alone
    )
    assert load_file(library.download(alone, "safetensors")).keys() == {"emb_params"}
    assert library.download(alone, "diffusers").name == "alone.safetensors", "diffusers reads the same file"
    with pytest.raises(VelaturaError, match="“alone” has no word of its own"):
        library.download(alone, "embedding")
    assert "&lt;lora:soft:0.8&gt; &lt;dusk&gt;" in card(library, beside)
    shown = card(library, alone)
    assert "&lt;lora:alone" not in shown and "Textual inversion" in shown
    (paths.runs / "beside").rename(paths.runs / "moved")
    assert style_of_run(paths.runs / "moved") == paths.runs / "moved" / "style" / "beside.safetensors"


def test_an_embedding_is_taken_in_as_a_style(library):
    item = send(library, {"emb_params": torch.ones(2, 768)}, "blot.safetensors")
    assert (item.method, item.words, item.family, item.plain) == ("textual-inversion", ("blot",), "sd1", True)
    assert library.download(item, "diffusers").name == "blot.safetensors" and library.word_of(item) is None


def test_the_files_of_kept_steps_are_named_after_them(library):
    run = write_run(library.paths.runs, "dusk")
    write_snapshot(run, 20)
    assert library.download(by_name(library)["dusk"], "safetensors").name == "dusk.safetensors"
    star(run, 20)
    kept = library.download(by_name(library)["dusk"], "safetensors")
    assert kept.name == "dusk 20.safetensors" and kept.read_bytes() == Run(run).snapshot(20).read_bytes()


def test_a_file_that_has_changed_gets_another_address(trained):
    plain = by_name(trained)["plain one"]
    first = trained.download(plain, "safetensors")
    os.utime(plain.path, (plain.made - 10, plain.made - 10))
    changed = by_name(trained)["plain one"]
    second = trained.download(changed, "safetensors")
    assert changed.id == plain.id and changed.made == plain.made - 10
    assert first != second and first.name == second.name and not first.exists()


def test_a_stranger_s_words_are_only_words(library):
    metadata = {"modelspec.trigger_phrase": NASTY, "modelspec.author": NASTY * 100, "ss_sd_model_name": "../x"}
    item = send(library, LORA, "blot.safetensors", **metadata)
    assert item.words == ("<b>blot</b> ${document.title='x'} {{1+1}} \"'",)
    notes = dict(item.notes)
    assert notes["ss_sd_model_name"] == "../x"
    assert len(notes["modelspec.author"]) == 400 and notes["modelspec.author"].isprintable()
    assert (item.method, item.family, item.base, item.base_model, item.run) == (
        "lora",
        "sd1",
        "Stable Diffusion 1",
        "",
        "",
    )
    assert item.path == library.paths.styles / "blot.safetensors"
    assert equal(load_file(library.download(item, "diffusers")), LORA)
    with pytest.raises(VelaturaError, match="“blot” was imported, so its settings are unknown"):
        library.download(item, "toml")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../x.safetensors", "x"),
        ("..\\..\\dusk.SAFETENSORS", "dusk"),
        ("con.safetensors", "con style"),
        ("🦊.safetensors", "style"),
        (".hidden.safetensors", "hidden"),
        (f"{'long' * 99}.safetensors", ("long" * 99)[:60]),
    ],
)
def test_names_become_safe(library, given, name):
    item = send(library, LORA, given)
    assert (item.name, item.path) == (name, library.paths.styles / f"{name}.safetensors")


def test_a_second_style_of_a_name_gets_a_number_and_a_second_copy_is_refused(library):
    first = send(library, LORA, "dusk.safetensors")
    second = send(library, {key: 2 * tensor for key, tensor in LORA.items()}, "Dusk.safetensors")
    assert (first.name, second.name) == ("dusk", "Dusk 2") and len(library.entries()) == 2
    with pytest.raises(VelaturaError, match="this style already exists as “dusk”"):
        send(library, LORA, "other.safetensors")
    assert sorted(path.name for path in library.paths.styles.iterdir()) == ["Dusk 2.safetensors", "dusk.safetensors"]


def test_files_that_cannot_be_read_or_are_there_twice_are_named(library):
    def put(name, content, age=60.0):
        (library.paths.styles / name).write_bytes(content)
        os.utime(library.paths.styles / name, (time.time() - age,) * 2)

    whole = send(library, LORA, "dusk.safetensors").path.read_bytes()
    put("a dusk.safetensors", whole, age=0)
    put("half.safetensors", whole[:-9])
    put("text\x07.safetensors", b"no tensors at all")
    put("coming.safetensors", whole[:50], age=0)
    put("dusk.safetensors", whole, age=3600)
    assert [item.name for item in library.entries()] == ["dusk"], "the older file is the style"
    said = sorted(library.unlisted())
    assert said[0] == "“a dusk.safetensors” holds the same style as “dusk”"
    assert said[1].startswith("“half.safetensors” is truncated or damaged")
    assert said[2] == "“text .safetensors” is not a .safetensors file; use one that is" and len(said) == 3
    (library.paths.styles / "half.safetensors").unlink()
    put("a dusk.safetensors", b"")
    assert [item.name for item in library.entries()] == ["dusk"]
    assert [why.split(" is ")[0] for why in sorted(library.unlisted())] == [
        "“a dusk.safetensors”",
        "“text .safetensors”",
    ]


def test_what_is_no_regular_file_is_named_and_not_opened(library):
    folder = library.paths.styles
    send(library, LORA, "dusk.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "under.safetensors").symlink_to("dusk.safetensors/under")
    (folder / "long.safetensors").symlink_to("x" * 999)
    (folder / "a\u202e\n\x1bb.safetensors").mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.safetensors")).mkdir()
    for path in folder.iterdir():
        if not path.is_symlink():
            os.utime(path, (1, 1))
    assert list(by_name(library)) == ["dusk"] and library.unlisted() == [
        "“a b.safetensors” is not a file",
        "cannot read “long.safetensors”: File name too long",
        "cannot read “loop.safetensors”: Too many levels of symbolic links",
        "“pipe.safetensors” is not a file",
        "cannot read “under.safetensors”: Not a directory",
        "“.safetensors” is not a file",
    ]
    (folder / "pipe.safetensors").unlink()
    assert list(by_name(library)) == ["dusk"] and len(library.unlisted()) == 5


def test_a_damaged_file_with_a_time_in_the_future_is_named(library):
    (library.paths.styles / "half.safetensors").write_bytes(b"")
    os.utime(library.paths.styles / "half.safetensors", (time.time() + 1e6,) * 2)
    assert library.entries() == []
    assert library.unlisted() == ["“half.safetensors” is empty; copy or download it again"]


def test_who_imported_what_outlasts_a_damaged_file(library):
    first = send(library, LORA, "dusk.safetensors", owner="ann")
    send(library, {key: 2 * tensor for key, tensor in LORA.items()}, "Dusk.safetensors", owner="ben")
    file = library.paths.styles / ".owners.json"
    for content in (b"", b"\0" * 20, b"[]", b'{"a": 1}', b"\xff"):
        file.write_bytes(content)
        assert by_name(library)["dusk"].owner == "ann" and library.imported("ann") == first.size
        assert content in [path.read_bytes() for path in library.paths.styles.glob(".owners.damaged-*.json")]


FF = "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff"
BLOCKS = {f"{FF}.A": torch.ones(2, 3), f"{FF}.B": torch.ones(5, 4)}


def of_blocks(method: str) -> dict[str, str]:
    form = {"version": 1, "groups": [{"part": "unet", "method": {"name": method}, "sites": [FF]}]}
    return {"velatura.family": "sd1", "velatura.methods": json.dumps(form)}


def test_what_only_velatura_loads_is_offered_as_that(library):
    item = send(library, BLOCKS, "blocks.safetensors", **of_blocks("krona-b"))
    assert (item.method, item.only_here, item.plain, item.family) == ("krona-b", True, False, "sd1")
    with pytest.raises(VelaturaError, match=f"only LoRA, LoHA and LoKr can be trained on, and {item.name} is krona-b"):
        train_on(Draft(id="x", public="y"), item)
    assert "start=" not in card(library, item)
    menu = download_menu(library, item)
    assert shared.ONLY_HERE in menu and "ComfyUI" not in menu
    assert "Not possible: krona-b does not change weights, and only Velatura loads it." in menu
    assert library.download(item, "safetensors").read_bytes() == item.path.read_bytes()
    with pytest.raises(VelaturaError, match=r"cannot be exported for diffusers.*only Velatura loads it"):
        library.download(item, "diffusers")
    assert "lora:" not in card(library, item), "no other tool's way to call it"
    with pytest.raises(VelaturaError, match=r"“b\.safetensors” has an unknown method or setting"):
        send(library, BLOCKS, "b.safetensors", **of_blocks("magic"))


PEFT = {"unet.a.lora_A.weight": torch.ones(2, 6), "unet.a.lora_B.weight": torch.ones(4, 2)}
BASE = {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 2), "first_stage_model.x": torch.ones(2)}


def pickled() -> bytes:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('it ran')",)

    return pickle.dumps(Bomb(), protocol=2)


def ragged(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return {key: torch.ones(shape) if key.endswith(name) else tensor for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"words, not a file of numbers" * 9, "a.safetensors", "“a.safetensors” is not a .safetensors file"),
        (b"", "a.safetensors", "“a.safetensors” is empty"),
        (save(LORA)[:-7], "a.safetensors", "“a.safetensors” is truncated or damaged"),
        (save(LORA), "a.pt", "“a.pt” does not end in .safetensors; other files"),
        (save(LORA), "../..", "other files are refused"),
        (pickled(), "a.safetensors", "“a.safetensors” is not a .safetensors file"),
        (pickled(), "<b>a</b>.ckpt", "they can run code when opened"),
        (save(BASE), "a.safetensors", "is a base model or part of one, not a style; use it as the base"),
        (save({"emb_params": torch.ones(76, 768)}), "a.safetensors", "is not a known kind of style"),
        (save(ragged(LORA, "down.weight", (3, 768))), "a.safetensors", "“a.safetensors” does not fit: its layer"),
        (save(ragged(LORA, "down.weight", (2,))), "a.safetensors", "“a.safetensors” does not fit: its layer"),
        (save(ragged(LORA, "up.weight", ()) | {"x.diff": torch.ones(3)}), "a.safetensors", "does not fit"),
        (save({k: t * torch.nan for k, t in LORA.items()}), "a.safetensors", "numbers that are not finite"),
        (save(PEFT, {"lora_adapter_metadata": '{"unet.lora_alpha": []}'}), "a.safetensors", "has an invalid"),
    ],
)
def test_what_is_no_style_is_refused_in_a_sentence(library, content, name, reason):
    with pytest.raises(VelaturaError) as refused:
        send(library, content, name)
    said = str(refused.value)
    assert reason in said and "\n" not in said
    assert library.entries() == [] and list(library.paths.styles.iterdir()) == []


def test_only_uploads_are_taken_in(library, tmp_path):
    mine = tmp_path / "mine.safetensors"
    save_file(LORA, mine)
    (library.paths.uploads / "link.safetensors").symlink_to(mine)
    for path in (mine, library.paths.uploads / "link.safetensors", library.paths.uploads / "none.safetensors"):
        with pytest.raises(VelaturaError, match="did not arrive"):
            library.take_in(path, "mine.safetensors")
    assert mine.is_file() and library.entries() == []


def test_a_file_that_was_put_there_by_hand_is_found_once_it_is_whole(library):
    whole, place = save(LORA), library.paths.styles / "🦊 by hand.safetensors"
    place.write_bytes(whole[:-9])
    assert library.entries() == []
    place.write_bytes(whole)
    (item,) = library.entries()
    assert item.name == "by hand" and library.download(item, "safetensors").name == "by hand.safetensors"
    offered = library.download(item, "safetensors")
    place.unlink()
    assert library.entries() == [] and library._read == {} and not offered.exists(), "nothing of it is offered any more"
    with pytest.raises(VelaturaError, match="this style no longer exists"):
        library.download(item, "safetensors")


@pytest.mark.parametrize(
    ("method", "said", "shown"),
    [
        ('{"name": "adalora"}', "adalora", "AdaLoRA"),
        ('{"name": "lora", "start": "pissa"}', "pissa", "PiSSA"),
        ('{"name": "no such"}', "lora", "LoRA"),
    ],
)
def test_a_style_is_called_by_what_it_was_trained_with(library, method, said, shown):
    item = send(library, LORA, "ink.safetensors", **{"velatura.config": f'{{"method": {method}}}'})
    assert item.method == said and words.method(said) == shown


def test_an_alpha_that_a_file_alone_does_not_tell_is_said_on_its_card(library):
    """PEFT keeps it in another file, which nobody uploads."""
    layer = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    adapter = {f"{layer}.lora_A.weight": torch.ones(2, 768), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    item = send(library, adapter, "adapter_model.safetensors")
    ((key, note),) = item.notes
    assert key == READ_AS and "it is read with alpha = rank" in note
    assert f"<dt>How it is read</dt><dd>{escape(note)}" in card(library, item)
    assert set(words.NOTES) == {*NOTE_KEYS, READ_AS}, "the card has a name for each note"


def test_a_dora_of_another_tool_is_taken_but_not_for_diffusers(library):
    item = send(library, DORA, "deep.safetensors")
    assert item.method == "lora+dora"
    with pytest.raises(VelaturaError, match=r"“deep” cannot be exported for diffusers.*: it is a DoRA"):
        library.download(item, "diffusers")


def test_a_loha_of_another_tool_is_written_anew_for_diffusers(trained, library, tiny_trees):
    loha = next(item for item in trained.entries() if item.run == "soft")
    item = send(library, loha.path.read_bytes(), "soft.safetensors")
    assert (item.words, item.notes) == (("soft style",), (("modelspec.title", "soft"), ("ss_sd_model_name", "sd1")))
    assert library.for_diffusers(item) is None
    file = library.download(item, "diffusers")
    assert file.name == "soft-diffusers.safetensors" and file.is_relative_to(library.paths.public)
    assert equal(load_file(file), load_file(trained.download(loha, "diffusers"))), "the same as its run wrote"
    assert library.download(item, "diffusers") == file


def test_a_style_is_renamed_and_keeps_its_id(trained, library):
    soft = by_name(trained)["soft"]
    for item in (
        trained.rename(soft, " Soft/light: №1 ", actor=MACHINE_OWNER),
        by_name(StyleLibrary(StudioQueue(trained.paths)))["Soft light 1"],
    ):
        assert (item.id, item.run, item.path, item.name) == (soft.id, "soft", soft.path, "Soft light 1")
        assert trained.download(item, "diffusers").name == "Soft light 1-diffusers.safetensors"
    with pytest.raises(VelaturaError, match="there is already a style named “PLAIN one”"):
        trained.rename(soft, "PLAIN one", actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="at least one letter or digit"):
        trained.rename(soft, "../🦊", actor=MACHINE_OWNER)
    assert trained.rename(soft, "soft", actor=MACHINE_OWNER).name == "soft"

    taken = send(library, LORA, "dusk.safetensors")
    item = library.rename(taken, "Dusk", actor=MACHINE_OWNER)
    assert (item.id, item.path.name) == (taken.id, "Dusk.safetensors") and not taken.path.exists()


def test_only_what_is_meant_is_deleted(trained, library):
    store, soft = trained.queue.store, by_name(trained)["soft"]
    offered = trained.download(soft, "safetensors")
    trained.rename(soft, "harder", actor=MACHINE_OWNER)
    folder = trained.paths.runs / "soft"
    job = store.job_in(folder)
    assert job is not None
    actions.resume(store, job.id, actor=MACHINE_OWNER)
    assert "harder" in by_name(trained), "a run that goes on has its file still"
    with pytest.raises(VelaturaError, match="“harder” cannot be deleted now: it is waiting; stop its run"):
        trained.remove(by_name(trained)["harder"], actor=MACHINE_OWNER)
    with pytest.raises(VelaturaError, match="cannot be deleted"):
        trained.remove(by_name(trained)["harder"], with_run=True, actor=MACHINE_OWNER)
    actions.stop(store, job.id, "cancel", actor=MACHINE_OWNER)
    trained.remove(by_name(trained)["harder"], actor=MACHINE_OWNER)
    assert list(by_name(trained)) == ["plain one"] and not offered.exists()
    assert not (folder / "style").exists() and Run(folder).checkpoint_steps() == [0]
    assert (folder / "dataset").is_dir() and (folder / "config.toml").is_file()

    plain = by_name(trained)["plain one"]
    offered = trained.download(plain, "toml")
    trained.remove(plain, with_run=True, actor=MACHINE_OWNER)
    assert trained.entries() == [] and not (trained.paths.runs / "plain one").exists() and not offered.exists()

    item = send(library, LORA, "dusk.safetensors")
    library.remove(item, actor=MACHINE_OWNER)
    assert library.entries() == [] and list(library.paths.styles.iterdir()) == []
