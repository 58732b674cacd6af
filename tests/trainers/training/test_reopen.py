"""A run's file written anew: at any rank that was trained, with the bits of a run that had asked for it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.trainers.tiny_runs import METHODS, equal, files_in, style_metadata, style_tensors, write_images
from trainers.errors import BusyError, VelaturaError
from trainers.runs.run import Run
from trainers.training.ranks import measure_ranks, sufficient_rank
from trainers.training.reopen import export_again, ranks_of, reopened
from trainers.training.step.denoising import denoising_errors, make_probes
from trainers.training.train import train

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS = {
    "method": METHODS["dylora"] | {"frozen": False},
    "targets": {"text_encoder": "attn", "blocks": {"mid_block.*": {"rank": 6}}},
    "train": {"steps": 3, "ema": 0.9},
}


@pytest.fixture
def trained(quick, tmp_path) -> Run:
    return Run(train(quick(SETTINGS), tmp_path / "runs").run)


def test_every_rank_of_one_run(trained, quick, tmp_path):
    before = files_in(trained.folder)
    assert ranks_of(trained) == (2, 4)
    whole = export_again(trained, tmp_path / "there" / "whole.safetensors", None, overwrite=False)
    assert equal(style_tensors(whole), style_tensors(trained.style / "dusk.safetensors"))
    # One that had asked for the rank before, with the same weights: previews and files are all that it changes.
    asked = quick(SETTINGS | {"method": SETTINGS["method"] | {"kept_rank": 2}})
    expected = Run(train(asked, tmp_path / "asked").run)
    cut = export_again(trained, None, 2, overwrite=False)
    assert cut == trained.style / "dusk-rank2.safetensors"
    assert equal(style_tensors(cut), style_tensors(expected.style / "dusk.safetensors"))
    assert {t.shape[0] for n, t in style_tensors(cut).items() if n.endswith("lora_down.weight")} == {2}
    assert json.loads(style_metadata(cut)["velatura.config"])["method"]["kept_rank"] == 2
    assert files_in(trained.folder) - before == {"style/dusk-rank2.safetensors"}

    curve = measure_ranks(trained, tolerance=1.0, times=3)
    assert (curve.ranks, curve.enough) == ((2, 4), 2)
    assert len({*curve.errors, curve.base}) == 3
    with reopened(expected) as found:  # the error of rank 2 is that of the network which keeps it
        session = found.session
        questions = make_probes(session.model, found.dataset.items, session.config, times=3)
        errors = denoising_errors(session.model, session.network, questions, session.config)
    assert curve.errors[0] == float(errors.mean())
    other = measure_ranks(trained, times=3, images=write_images(tmp_path / "other", {"moon": (64, 64)}))
    assert other.base != curve.base and other.ranks == curve.ranks
    assert files_in(trained.folder) - before == {"style/dusk-rank2.safetensors"}


def test_what_cannot_be_written_is_said(trained, tmp_path):
    style = trained.style / "dusk.safetensors"
    held = style.read_bytes()
    (tmp_path / "mine-diffusers.safetensors").write_bytes(b"mine")
    for out, rank, words in (
        (None, 3, "rank 3 was not trained in .*dusk; available are 2, 4"),
        (None, 6, "rank 6 was not trained"),
        (None, None, "dusk.safetensors already exists; choose another --out, or replace it with --overwrite"),
        (tmp_path / "mine.safetensors", None, "mine-diffusers.safetensors already exists"),
        (tmp_path / "dusk.bin", None, "must end in .safetensors; found dusk.bin"),
    ):
        with pytest.raises(VelaturaError, match=words):
            export_again(trained, out, rank, overwrite=False)
    assert style.read_bytes() == held
    export_again(trained, None, None, overwrite=True)
    with trained.training(), pytest.raises(BusyError, match="is training"):
        export_again(trained, tmp_path / "new.safetensors", None, overwrite=False)
    assert not (tmp_path / "new.safetensors").exists()


def test_no_file_is_written_of_a_damaged_checkpoint(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    weights = run.checkpoint(2) / "network.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(VelaturaError, match=r"step-00000002 is damaged .* away and use the one from step 1"):
        export_again(run, tmp_path / "new.safetensors", None, overwrite=False)
    assert not (tmp_path / "new.safetensors").exists() and weights.exists()


def test_a_method_of_one_rank_says_which_have_several(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    for ask_for in (lambda: export_again(run, None, 2, overwrite=False), lambda: measure_ranks(run)):
        with pytest.raises(
            VelaturaError, match=r"trained with lora; only a run of dylora can be exported at another rank"
        ):
            ask_for()
    for step in run.checkpoint_steps():
        Path(run.checkpoint(step)).rename(run.checkpoints / f"gone-{step}")
    with pytest.raises(VelaturaError, match="has no checkpoint"):
        export_again(run, None, None, overwrite=True)


def test_a_file_is_written_where_its_optimizer_could_not_run(quick, tmp_path):
    run = Run(train(quick(), tmp_path).run)
    config = run.folder / "config.toml"
    words = config.read_text(encoding="utf-8").replace("offload_optimizer = false", "offload_optimizer = true")
    config.write_text(words, encoding="utf-8")  # as if it had been trained on a card, and moved here
    style = export_again(run, tmp_path / "here.safetensors", None, overwrite=False)
    assert equal(style_tensors(style), style_tensors(run.style / "dusk.safetensors"))
    assert json.loads(style_metadata(style)["velatura.config"])["train"]["offload_optimizer"] is True


def test_the_smallest_rank_within_the_tolerance_is_enough():
    ranks, errors = (2, 4, 6, 8), (0.5, 0.41, 0.4, 0.402)
    # From the base's 0.9 the best gains 0.5, of which rank 4 gives up 2 % and rank 2 gives up 20 %.
    assert [sufficient_rank(ranks, errors, 0.9, share) for share in (0, 0.019, 0.021, 0.19, 0.21)] == [6, 6, 4, 4, 2]
    # However small the gain is beside the error, a rank with two thirds of it does not have nine tenths.
    assert sufficient_rank((4, 16), (0.0990, 0.0985), 0.1, 0.1) == 16
    assert sufficient_rank(ranks, errors, 0.3, 0.5) == 6, "the best, where none gains anything"
