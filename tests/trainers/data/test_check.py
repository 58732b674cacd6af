from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from tests.trainers.data import pictures
from trainers.config.sections import Data
from trainers.data.check import Finding, check_images
from trainers.errors import VelaturaError


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(["fox", "owl", "hare", "mole", "newt", "toad"]):
        pictures.scene(number, (160, 140)).save(folder / f"{name}.png")
    return folder


def check(folder: Path, **settings: object) -> list[Finding]:
    return check_images(folder, Data(**settings), 128, 32, lambda text: len(text.split()))


def only(findings: list[Finding], part: str) -> Finding:
    """The one finding whose sentence holds `part`."""
    (found,) = [finding for finding in findings if part in finding.sentence]
    return found


def bad(findings: list[Finding]) -> list[str]:
    return [finding.sentence for finding in findings if finding.level != "ok"]


def test_good_images_have_nothing_wrong(good: Path) -> None:
    findings = check(good)
    assert [finding.level for finding in findings] == ["ok"] * 3
    assert only(findings, "6 readable pictures").level == "ok"
    assert only(findings, "large enough for the training resolution of 128").level == "ok"
    assert only(findings, "Every picture has a caption").level == "ok"


def test_every_fault_has_a_fix_and_the_gravest_come_first(good: Path) -> None:
    (good / "bad.png").write_text("text")
    Image.new("RGBA", (160, 160), (9, 99, 199, 128)).save(good / "IMG_1.png")
    pictures.scene(0, (160, 140)).save(good / "copy.bmp")
    findings = check(good)
    assert len(bad(findings)) >= 5 and all(finding.fix for finding in findings if finding.level != "ok")
    levels = [("error", "warning", "note", "ok").index(finding.level) for finding in findings]
    assert levels == sorted(levels) and len(set(levels)) == 3


def test_files_that_cannot_be_used(good: Path) -> None:
    (good / "bad.png").write_text("text")
    (good / "logo.svg").write_text("<svg/>")
    (good / "more").mkdir()
    pictures.scene(1).save(good / "more/x.png")
    findings = check(good)
    bad_file = only(findings, "bad.png holds text, not an image.")
    assert bad_file.files == ("bad.png",) and bad_file.fix == "Replace or remove it; until then, training ignores it."
    assert only(findings, "logo.svg is in an unsupported format.").level == "warning"
    assert only(findings, "There are images in subfolders (more)").level == "warning"


def test_too_few_or_none(tmp_path: Path) -> None:
    with pytest.raises(VelaturaError, match=r"no such folder"):
        check(tmp_path / "missing")
    assert [(finding.level, finding.sentence) for finding in check(tmp_path)] == [("error", "No picture can be read.")]
    pictures.scene(1, (160, 140)).save(tmp_path / "fox.png")
    assert only(check(tmp_path), "There is only 1 picture.").level == "warning"
    for number in range(2, 5):
        pictures.scene(number, (160, 140)).save(tmp_path / f"fox {number}.png")
    assert only(check(tmp_path), "There are only 4 pictures.").level == "warning"
    pictures.scene(5, (160, 140)).save(tmp_path / "fox 5.png")
    assert only(check(tmp_path), "5 readable pictures").level == "ok"


def test_pictures_of_one_colour_are_not_enough(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (160, 140), (40 * number, 10, 10)).save(tmp_path / f"plain {number}.png")
    assert only(check(tmp_path), "Apart from pictures of one colour, there are only 0.").level == "warning"
    pictures.scene(1, (160, 140)).save(tmp_path / "fox.png")
    assert only(check(tmp_path), "Apart from pictures of one colour, there is only 1.").level == "warning"


def test_duplicates(good: Path) -> None:
    pictures.scene(0, (160, 140)).save(good / "again.webp", lossless=True)
    pictures.scene(1, (160, 140)).resize((320, 280)).save(good / "larger.jpg")
    findings = check(good)
    assert only(findings, "are the same picture").files == ("again.webp", "fox.png")
    assert only(findings, "are nearly the same picture").files == ("larger.jpg", "owl.png")


def test_small_images(good: Path) -> None:
    pictures.scene(8, (80, 80)).save(good / "small.png")
    pictures.scene(9, (20, 20)).save(good / "tiny.png")
    findings = check(good)
    small = only(findings, "small.png is too small for the training resolution of 128 and trained at 96 × 96.")
    assert small.files == ("small.png",) and "data.max_upscale" in small.fix
    assert only(findings, "training enlarges it up to 3.2 times").files == ("tiny.png",)
    assert not any("large enough" in finding.sentence for finding in findings)
    assert only(findings, "differ a lot in size, from 20 × 20 to 160 × 140 pixels").level == "note"
    assert bad(check(good, max_upscale=8)) == [only(findings, "differ a lot").sentence]


def test_elongated_images_lose_a_share(good: Path) -> None:
    pictures.scene(8, (800, 200)).save(good / "long.png")
    # At 160 × 96 the height fills and 333 of 800 columns are seen: 58 % are lost.
    assert only(check(good), "(800 × 200): cropping it to its bucket loses 58% of it").files == ("long.png",)
    assert bad(check(good, max_aspect=4)) == []


def test_blurred_and_uniform_images(good: Path) -> None:
    pictures.scene(8, (160, 140)).filter(ImageFilter.GaussianBlur(6)).save(good / "soft.png")
    Image.new("RGB", (160, 160), "teal").save(good / "plain.png")
    findings = check(good)
    assert only(findings, "blurred").files == ("soft.png",)
    assert only(findings, "one colour").files == ("plain.png",)


def test_transparency_is_mentioned_when_it_is_laid_on_white(good: Path) -> None:
    picture = pictures.scene(8, (160, 140)).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 30, 30))
    picture.save(good / "cut.png")
    assert only(check(good), "partly transparent").files == ("cut.png",)
    assert bad(check(good, transparency="mask")) == []


def test_captions(good: Path) -> None:
    pictures.scene(8, (160, 140)).save(good / "IMG_1234.png")
    missing = only(check(good), "no caption")
    assert missing.level == "warning" and missing.files == ("IMG_1234.png",)
    assert only(check(good, trigger="zz"), "no caption").level == "note"
    assert only(check(good, caption="a drawing, {name}"), "Every picture has a caption").level == "ok"
    same = only(check(good, caption="a drawing"), "All pictures have the same caption")
    assert same.level == "note" and "“a drawing”" in same.sentence
    (good / "IMG_1234.txt").write_text("a drawing")
    assert only(check(good), "Every picture has a caption").level == "ok"


def test_long_captions(good: Path) -> None:
    (good / "fox.txt").write_text("very " * 74 + "red fox")
    long = only(check(good), "truncated at 75 tokens (the longest has 76)")
    assert long.files == ("fox.png",) and "data.chunks" in long.fix
    assert bad(check(good, chunks=2)) == []
    assert bad(check_images(good, Data(), 128, 32)) == [], "lengths are not checked without a tokenizer"
    (good / "fox.txt").write_text("very " * 73 + "red fox")
    assert bad(check(good)) == []
    assert only(check(good, trigger="zz"), "longest has 76").files == ("fox.png",), "the trigger counts"


def test_captions_of_several_lines_are_noted_unless_they_are_alternatives(tmp_path: Path) -> None:
    pictures.scene(1, (64, 64)).save(tmp_path / "fox.png")
    (tmp_path / "fox.txt").write_text("a fox\nan animal\n")

    def notes(**settings: bool) -> list[str]:
        findings = check_images(tmp_path, Data(images=".", **settings), 64, 8)
        return [finding.sentence for finding in findings if "several lines" in finding.sentence]

    assert notes() == ["The caption of fox.png has several lines, which are read as one."]
    assert notes(wildcards=True) == []
