from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.studio.dataset import edits
from app.studio.dataset.checks import Checker, Report, is_here, short_names, training_size_of
from app.studio.dataset.drafts import Draft, Drafts
from app.studio.dataset.uploads import take_folder
from app.ui.train import images_view
from tests.trainers.data.pictures import scene

pytestmark = pytest.mark.slow

KEY = "visitor:someone"
NASTY = '"><script>1</script>'


@pytest.fixture
def draft(drafts: Drafts, tmp_path: Path) -> Draft:
    """A picture, nearly the same again, one without a caption, a wide one, a tiny one, and a clear one."""
    folder = tmp_path / "in"
    folder.mkdir()
    scene(1, (900, 700)).save(folder / "a boat.png")
    scene(1, (900, 700)).resize((450, 350)).save(folder / "b boat.png")
    scene(2, (800, 600)).save(folder / "IMG_1234.png")
    scene(6, (1600, 260)).save(folder / "panorama.png")
    scene(5, (24, 18)).save(folder / "pear.png")
    cut = scene(7, (640, 640)).convert("RGBA")
    cut.paste((0, 0, 0, 0), (0, 0, 200, 640))
    cut.save(folder / "tree.png")
    return take_folder(drafts, KEY, folder)


def kinds(draft: Draft, report: Report) -> dict[str, set[str]]:
    return {one.name: {note.kind for note in report.notes[one.id]} for one in draft.pictures}


def test_findings_stand_beside_the_pictures_they_concern(drafts: Drafts, draft: Draft) -> None:
    report = Checker(drafts).report(draft)
    found = kinds(draft, report)
    assert "copy" in found["a boat.png"] and "copy" in found["b boat.png"]
    assert found["IMG_1234.png"] == {"no caption"}
    assert "elongated" in found["panorama.png"] and "small" in found["pear.png"]
    assert "transparent" in found["tree.png"]
    assert report.hints == sum(len(notes) for notes in report.notes.values()) >= 6
    (wide,) = (one.id for one in draft.pictures if one.name == "panorama.png")
    down, right = report.frames[wide]
    assert list(report.frames) == [wide] and down == pytest.approx(1, abs=0.01) and 0.2 < right < 0.5
    said = " ".join(note.words for notes in report.notes.values() for note in notes)
    assert "the same picture as b boat.png" in said, "pictures are called as on their cards"


def test_of_copies_one_is_kept_that_has_a_caption_and_is_the_largest(drafts: Drafts, draft: Draft) -> None:
    checker, ids = Checker(drafts), {one.name: one.id for one in draft.pictures}
    assert checker.report(draft).spare == (ids["b boat.png"],), "the smaller one"
    nameless = edits.with_caption(draft, ids["a boat.png"], "", "a boat")
    kept = checker.without_copies(nameless.with_(revision=draft.revision + 1))
    assert {one.name for one in draft.pictures} - {one.name for one in kept.pictures} == {"a boat.png"}
    assert len(edits.undone(kept).pictures) == len(draft.pictures)


def test_pictures_of_one_name_are_told_apart_by_their_numbers() -> None:
    assert short_names(["a/fox.png", "owl.png", "b/fox.png"]) == ["fox.png (1)", "owl.png", "fox.png (3)"]


def test_findings_follow_the_draft(drafts: Drafts, draft: Draft) -> None:
    checker = Checker(drafts)
    before = checker.report(draft)
    assert checker.report(draft) is before, "what was found is not looked for again"
    (nameless,) = (one.id for one in draft.pictures if one.name == "IMG_1234.png")
    named = drafts.change(KEY, lambda now: edits.with_caption(now, nameless, "a lake", ""))
    assert kinds(named, checker.report(named))["IMG_1234.png"] == set()
    masked = drafts.change(KEY, edits.masked)
    assert "transparent" not in kinds(masked, checker.report(masked))["tree.png"]
    long = drafts.change(KEY, lambda now: edits.with_caption(now, nameless, "a red boat " * 40, "a lake"))
    (note,) = checker.report(long).notes[nameless]
    assert note.kind == "long caption" and "75" in note.words


def test_what_was_measured_outlives_the_studio(drafts: Drafts, draft: Draft) -> None:
    report = Checker(drafts).report(draft)
    for picture in (drafts.pictures(draft)).glob("*.png"):
        picture.write_bytes(b"gone")
    assert Checker(drafts).report(draft) == report
    for kept in drafts.measures(draft).glob("*.json"):
        kept.write_text("{")
    with pytest.raises(Exception, match="not"):
        Checker(drafts).report(draft)


def test_few_pictures_are_said_once(drafts: Drafts, draft: Draft) -> None:
    few = drafts.change(KEY, lambda now: edits.without(now, [one.id for one in now.pictures[2:]]))
    (general,) = Checker(drafts).report(few).general
    assert general.sentence == "There are only 2 pictures."
    assert "There are only 2 pictures." in images_view.overview(few, Checker(drafts).report(few))


def test_a_page_gets_all_rows_once_and_then_what_changed(drafts: Drafts, draft: Draft) -> None:
    checker, first = Checker(drafts), draft.pictures[0].id

    def rows(of: Draft) -> list[images_view.WallRow]:
        return images_view.read_rows(of, checker.report(of))

    whole = images_view.all_rows(drafts, draft, rows(draft))
    assert whole["whole"] and [row[0] for row in whole["rows"]] == [one.id for one in draft.pictures]
    assert len(whole["says"]) == len({tuple(note) for note in whole["says"]}), "each note is said once"
    after = drafts.change(KEY, lambda now: edits.with_caption(now, first, NASTY, "a boat"))
    change = images_view.changed_rows(drafts, draft, rows(draft), after, rows(after), 7)
    assert (change["since"], change["revision"], change["ack"]) == (draft.revision, after.revision, 7)
    assert [(row[0], row[2]) for row in change["changed"]] == [(first, NASTY)] and not change["added"] + change["gone"]
    fewer = drafts.change(KEY, lambda now: edits.without(now, [first]))
    removed = images_view.changed_rows(drafts, after, rows(after), fewer, rows(fewer))
    assert removed["gone"] == [first] and not removed["added"]
    back = drafts.change(KEY, edits.undone)
    added = images_view.changed_rows(drafts, fewer, rows(fewer), back, rows(back))
    assert [(place, row[0]) for place, row in added["added"]] == [(0, first)]
    turned = back.with_(pictures=tuple(reversed(back.pictures)))
    assert images_view.changed_rows(drafts, back, rows(back), turned, rows(back)[::-1])["whole"]


def test_bases_that_are_not_here_are_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert is_here("starter") and not is_here("nobody/nothing") and not is_here(str(tmp_path / "none"))
    size, stride = training_size_of("starter")
    assert size % stride == 0 and size < 512
    assert training_size_of("nobody/nothing") == (512, 64)
    Image.new("RGB", (8, 8)).save(tmp_path / "no base.png")
    assert training_size_of(str(tmp_path / "no base.png")) == (512, 64)
