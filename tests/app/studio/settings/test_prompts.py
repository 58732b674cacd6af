"""The prompts that are offered for a draft are those that its run would choose."""

from __future__ import annotations

from app.studio.dataset.drafts import Choices, Draft, Picture
from app.studio.settings.plan import with_setting
from app.studio.settings.prompts import suggested_prompts


def draft(*captions: str, **choices: str) -> Draft:
    pictures = tuple(
        Picture(id=f"{number:032x}", name=f"{number}.png", caption=caption, size=(64, 64))
        for number, caption in enumerate(captions)
    )
    return Draft(id="d", public="p", revision=0, pictures=pictures, trigger="dusk style", choices=Choices(**choices))


def test_new_subjects_are_offered_for_a_style_and_new_scenes_for_a_subject():
    style = draft("a penguin", "a house")
    assert suggested_prompts(style)[0] == "dusk style, a lion"
    assert suggested_prompts(style, "captions") == ("dusk style, a penguin", "dusk style, a house")
    assert suggested_prompts(draft("a penguin", "a house", aim="subject"))[0] == "dusk style, blue background"
    elsewhere = draft("a penguin", "a house", base="owner/name", aim="subject")
    assert suggested_prompts(elsewhere)[0] == "dusk style on a beach"


def test_a_setting_to_fix_hides_no_prompts():
    wrong = with_setting(draft("a penguin", "a house"), "method.rank", "0")
    assert suggested_prompts(wrong)[0] == "dusk style, a lion"
