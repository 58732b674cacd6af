"""Class images are drawn once, by the base as it was, train along under their prompt, and do nothing at λ = 0."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.pairs import seldom_but
from tests.trainers.tiny_runs import (
    METHODS,
    cut_and_resume,
    equal,
    events_of,
    files_in,
    state_of,
    style_metadata,
    style_tensors,
)
from tests.trainers.training.step.test_batches import make_batches, tensors
from trainers.adapters.methods.lora import LoRA
from trainers.adapters.network import attach
from trainers.adapters.targets import Targets
from trainers.config.sections import Base
from trainers.data.buckets import Bucket
from trainers.data.dataset import Dataset, Item
from trainers.models.load import load_model
from trainers.runs.events import Event, Recorder
from trainers.runs.run import Run
from trainers.sampling.sample import OnStep, SamplingParams
from trainers.training.opening import open_dataset, open_session
from trainers.training.prior import class_counts, class_dataset, open_prior
from trainers.training.step.batches import Batches
from trainers.training.step.trainee import Trainee
from trainers.training.train import resume, train

pytestmark = pytest.mark.usefixtures("no_pictures")

PRIOR = {"prior": {"prompt": "  a  drawing ", "images": 6}}


def class_images(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.prior)): path.read_bytes() for path in sorted(run.prior.glob("*/*.png"))}


@pytest.mark.parametrize(
    ("number", "sizes", "counts"),
    [
        (10, {(64, 64): 5}, [10]),
        (10, {(64, 64): 3, (48, 80): 1, (80, 48): 2}, [2, 5, 3]),
        (7, {(64, 64): 1, (48, 80): 1}, [4, 3]),
        (1, {(64, 64): 9, (48, 80): 1}, [1, 1]),
    ],
)
def test_each_training_size_gets_its_share(number, sizes, counts, quick):
    shapes = [shape for shape, count in sizes.items() for _ in range(count)]
    items = (Item(Path("x"), "", shape, "", Bucket(shape[1], shape[0], 1.0, False, False), False) for shape in shapes)
    config = quick({"prior": {"prompt": "a drawing", "images": number}})
    found = class_counts(config, Dataset(tuple(items), config.data, 0))
    assert found == dict(zip(sorted(sizes), counts, strict=True))
    assert class_counts(quick({"prior": {"prompt": "a drawing", "weight": 0.0}}), Dataset((), config.data, 0)) == {}


@pytest.mark.parametrize("family", seldom_but(("sdxl",), ("sd1", "sdxl")))
def test_a_batch_is_its_own_images_and_as_many_of_the_class(family, tiny_bases, tmp_path):
    model = load_model(Base(model=str(tiny_bases[family])), torch.float32, "cpu")
    folder = tmp_path / "images"
    folder.mkdir()
    for number, colour in enumerate(("red", "blue")):
        picture = Image.new("RGBA", (32, 32), colour)
        picture.paste((0, 0, 0, 0), (0, 0, 16, 32))
        picture.save(folder / f"{number}.png")
    plain = make_batches(model, folder, tmp_path, transparency="mask", trigger="dusk", caption_dropout=1.0)
    config = plain._config.model_copy(update={"prior": plain._config.prior.model_copy(update={"prompt": "a drawing"})})
    Image.new("RGB", (32, 32), "green").save(tmp_path / "class.png")
    item = Item(tmp_path / "class.png", "a drawing", (32, 32), "green", Bucket(32, 32, 1.0, False, False), False)
    classes = {(32, 32): class_dataset(config, (item,))}
    both = Batches(Run(tmp_path), config, model, plain._dataset, plain._trainee, False, classes)
    for index in (3, 0):
        own, batch = plain.make(index), both.make(index)
        assert (own.classes, batch.classes, len(batch.noisy)) == (0, 2, 4)
        for name, value in tensors(batch).items():
            assert torch.equal(value[:2], tensors(own)[name]), name
        assert own.mask is not None and own.mask.mean() < 0.6 and bool((batch.mask[2:] == 1).all())
        assert not torch.equal(batch.target[2:], batch.target[:2]) and not torch.equal(batch.target[2], batch.target[3])
        said = plain._trainee.encode(["a drawing", "a drawing"])
        torch.testing.assert_close(batch.text.context[2:], said.context)
    texts = Batches(Run(tmp_path), config, model, plain._dataset, plain._trainee, True, classes).make(0).text
    assert texts == ["", "", "a drawing", "a drawing"]


def test_a_batch_that_keeps_the_output_has_the_base_s_own_prediction_under_neutral_captions(tiny_bases, tmp_path):
    model = load_model(Base(model=str(tiny_bases["sdxl"])), torch.float32, "cpu")
    folder = tmp_path / "images"
    folder.mkdir()
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"dusk, a {colour} square", encoding="utf-8")
    plain = make_batches(model, folder, tmp_path, trigger="dusk", caption_dropout=0.0)
    prior = plain._config.prior.model_copy(update={"kind": "output", "prompt": "a drawing"})
    config = plain._config.model_copy(update={"prior": prior})
    network = attach(model.parts, LoRA(rank=2), Targets(unet="cross-kv"), seed=0)
    for parameter in network.parameters():
        parameter.data.add_(0.1)
    both = Batches(Run(tmp_path), config, model, plain._dataset, Trainee(model, network, 1, 1), False)
    own, batch = plain.make(3), both.make(3)
    first, _second = (drawn.caption for drawn in plain._dataset.draws(3, 2))
    assert (batch.classes, batch.uncaptioned) == (2, (False, False, False, True))
    assert torch.equal(batch.noisy[2:], own.noisy) and torch.equal(batch.timesteps[2:], own.timesteps)
    neutral = plain._trainee.encode([first.replace("dusk", "a drawing"), ""])
    torch.testing.assert_close(batch.text.context[2:], neutral.context)
    with network.at_strength(0):
        expected = model.predict(own.noisy, own.timesteps, neutral, own.time_ids)
    torch.testing.assert_close(batch.target[2:], expected)
    assert not torch.allclose(model.predict(own.noisy, own.timesteps, neutral, own.time_ids), expected)


def test_a_run_that_keeps_the_output_draws_nothing_and_ends_with_the_same_bits_if_cut(quick, tmp_path):
    layer = {"prior": {"kind": "output", "prompt": "a drawing"}, "data": {"trigger": "dusk"}, "train": {"steps": 4}}
    config = quick(layer)
    whole, again = train(config, tmp_path / "whole"), cut_and_resume(config, tmp_path / "cut", 2)
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    assert not Run(whole.run).prior.exists()
    plain = train(quick({"data": {"trigger": "dusk"}, "train": {"steps": 4}}), tmp_path / "plain")
    assert not equal(style_tensors(whole.style), style_tensors(plain.style))


def test_without_a_weight_it_is_the_plain_run(quick, tmp_path):
    plain, off = (train(quick(*layers), tmp_path / name) for name, layers in (
        ("plain", ()), ("off", (PRIOR, {"prior": {"weight": 0.0}})),
    ))  # fmt: skip
    assert equal(state_of(Run(plain.run), 2), state_of(Run(off.run), 2))
    assert equal(style_tensors(plain.style), style_tensors(off.style)) and files_in(plain.run) == files_in(off.run)
    assert not Run(off.run).prior.exists()


def pausing_at_class_image(run: Run, number: int, seen: list[Event]):
    def listen(event: Event) -> None:
        seen.append(event)
        if event["type"] == "drawing" and event.get("prior") and event["picture"] == number:
            run.ask_to_stop("pause")

    return listen


def drawn_by_the_bare_base_whatever_was_trained(run: Run, pictures: dict[str, bytes]) -> None:
    session = open_session(run, run.config(), Recorder(run.folder))
    for parameter in session.network.parameters():
        parameter.data.add_(0.1)
    gone = run.prior / list(pictures)[-1]
    gone.unlink()
    assert len(open_prior(session, open_dataset(session)[0])) == 3
    assert gone.read_bytes() == list(pictures.values())[-1]


def test_a_run_cut_while_class_images_are_drawn_and_again_later_ends_with_the_same_bits(quick, tmp_path):
    config = quick(PRIOR, {"method": METHODS["full"], "train": {"steps": 3}},
                   {"data": {"flip": True, "resolution": 64}})  # fmt: skip
    whole = train(config, tmp_path / "whole")
    pictures = class_images(Run(whole.run))
    assert len(pictures) == 6 and len(set(pictures.values())) == 6 and len({n.split("/")[0] for n in pictures}) == 3
    run, seen = Run(tmp_path / "cut" / "dusk"), list[Event]()
    first = train(config, tmp_path / "cut", listener=pausing_at_class_image(run, 3, seen))
    assert (first.steps, first.stopped_by, run.checkpoint_steps()) == (0, "pause", [0])
    assert len(class_images(run)) == 3 and class_images(run).items() <= pictures.items()
    assert [event["type"] for event in seen[-2:]] == ["checkpoint", "paused"]

    def stop_at_two(event: Event) -> None:
        if event["type"] == "step" and event["step"] == 2:
            run.ask_to_stop()

    assert resume(run, stop_at_two).steps == 2
    again = resume(run)
    assert class_images(run) == pictures
    assert [event["picture"] for event in events_of(run, "drawing") if event.get("prior")] == [1, 2, 3, 1, 2, 3]
    assert equal(state_of(Run(whole.run), 3), state_of(run, 3))
    assert equal(style_tensors(whole.style), style_tensors(again.style))
    drawn_by_the_bare_base_whatever_was_trained(run, pictures)
    metadata = style_metadata(whole.style)
    assert (metadata["ss_prior_loss_weight"], metadata["ss_num_reg_images"]) == ("1.0", "6")


def test_what_a_kill_left_half_written_is_no_class_image(quick, tmp_path):
    config = quick(PRIOR, {"train": {"steps": 1}})
    first = train(config, tmp_path, listener=pausing_at_class_image(Run(tmp_path / "dusk"), 3, []))
    run = Run(first.run)
    folder = next(run.prior.iterdir())
    samples = run.samples / "step-00000000"
    samples.mkdir(parents=True)
    for cut in (folder / ".unfinished-1-2-00003.png", samples / ".unfinished-1-2-00.png"):
        cut.write_bytes(next(iter(class_images(run).values()))[:40])
    assert resume(run).steps == 1
    whole = train(config, tmp_path / "whole")
    found = {name: data for name, data in class_images(run).items() if ".unfinished" not in name}
    assert found == class_images(Run(whole.run))


def test_pictures_that_come_out_the_same_are_drawn_anew(quick, tmp_path, monkeypatch):
    def draw(model: object, params: SamplingParams, told: OnStep) -> list[Image.Image]:
        told(1, 1)
        return iter([Image.new("RGB", params.size, (number // 2, 0, 0)) for number, _ in enumerate(params.seeds)])

    monkeypatch.setattr("trainers.training.prior.draw", draw)
    prior = {"prior": {"prompt": "a drawing", "images": 4}}
    assert list(class_images(Run(train(quick(prior), tmp_path).run))) == [f"32x32/{n:05d}.png" for n in (0, 2, 4, 6)]
    monkeypatch.setattr("trainers.training.prior.MOST_TRIES", 1)
    run = Run(train(quick(prior, {"name": "few", "data": {"trigger": "ohwx"}}), tmp_path).run)
    assert len(class_images(run)) == 2
    assert any("only 2 different" in event["message"] for event in events_of(run, "warning"))
    # Only the first had nothing that tells its images from those of the class.
    assert ["data.trigger is empty" in str(events_of(one, "warning")) for one in (Run(tmp_path / "dusk"), run)] == [
        True,
        False,
    ]


def test_class_images_of_a_folder_are_cut_to_the_sizes_of_training(quick, tmp_path):
    folder = tmp_path / "classes" / "1_drawing"
    folder.mkdir(parents=True)
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (90, 60 + number), colour).save(folder / f"{colour}.png")
    (folder / "red.txt").write_bytes(b"\0\1\2")  # refused as a caption, but a class image needs none
    (folder / "notes.png").write_bytes(b"no image")
    config = quick(
        PRIOR, {"prior": {"folder": str(folder.parent)}}, {"data": {"resolution": 64}, "train": {"steps": 1}}
    )
    run = Run(train(config, tmp_path / "runs").run)
    assert run.config().prior.folder == str(run.classes) and len(list(run.classes.glob("*.png"))) == 3
    left_out = [event["message"] for event in events_of(run, "warning") if "left out" in event["message"]]
    assert left_out == ["notes.png was left out: it holds text, not an image"]
    sizes = {path.parent.name: Image.open(path).size for path in run.prior.glob("*/*.png")}
    assert len(sizes) == 3 and all(name == f"{wide}x{high}" for name, (wide, high) in sizes.items())
    colours = {Image.open(path).convert("RGB").getpixel((3, 3)) for path in run.prior.glob("*/*.png")}
    assert colours == {(255, 0, 0), (0, 128, 0), (0, 0, 255)}, "every image has its turn"
    assert not [event for event in events_of(run, "drawing") if event.get("prior")], "none is drawn"
