"""Breaks of the pages and their scripts that tests find without a studio."""

from __future__ import annotations

from tests.breaks.breaks import Break

TYPED = "tests/app/ui/train/test_typed.py"
DROPPED = "tests/app/ui/train/test_dropzone.py"
PAGES: tuple[Break, ...] = (
    Break(
        "one-language",
        "app/ui/train/base.html",
        "{{ text.CHANGE }}",
        "Change",
        "a button is English in every language",
        ("tests/app/ui/document/test_templates.py::test_every_word_of_a_template_can_be_translated",),
    ),
    Break(
        "pale-text",
        "app/ui/document/tokens.css",
        "--ink-3: #93a199;",
        "--ink-3: #66736c;",
        "hints cannot be read in the dark theme",
        ("tests/app/ui/document/test_tokens.py::test_text_can_be_read_on_its_ground",),
    ),
    Break(
        "root-address",
        "app/ui/components/now.js",
        "new EventSource('now/stream')",
        "new EventSource('/now/stream')",
        "pages of a studio below a path of a host never change by themselves",
        ("tests/app/ui/document/test_assets.py::test_no_address_leaves_the_path_below_which_a_studio_is",),
    ),
    Break(
        "base-by-place",
        "app/ui/train/style.js",
        "if (form.matches('.by-name')) ask('base', field.value);",
        "",
        "a base model cannot be chosen by its file",
        ("tests/app/ui/train/test_style.py::test_a_base_is_chosen_by_its_place",),
    ),
    Break(
        "words-of-two",
        "app/ui/train/captions.js",
        "before.set(id, was);",
        "before.set(id, rows.get(id).caption);",
        "a caption that was written elsewhere is replaced without a question by what an earlier page had not sent",
        (f"{TYPED}::test_words_of_two_browsers_for_one_picture_are_both_offered",),
    ),
    Break(
        "newer-elsewhere",
        "app/ui/train/captions.js",
        "else if (element.isConnected && !flying && !editing) trigger('page_returned', {seen: seen()});",
        "",
        "a page that comes to the front looks current while another browser has changed its pictures",
        (f"{TYPED}::test_words_of_two_browsers_for_one_picture_are_both_offered",),
    ),
    Break(
        "deleted-while-typed",
        "app/ui/train/captions.js",
        "return waiting.add(id); // it was",
        "return; // it was",
        "words typed for a picture that another tab deletes are lost when it is brought back",
        (f"{TYPED}::test_what_is_typed_for_a_picture_that_is_deleted_elsewhere_comes_back_with_it",),
    ),
    Break(
        "far-card-focus",
        "app/ui/train/wall.js",
        "if (held && !wanted.has(held)",
        "if (false && !wanted.has(held)",
        "scrolling away from a caption takes the focus out of it",
        (f"{TYPED}::test_only_what_is_near_the_window_is_in_the_page",),
    ),
    Break(
        "told-tabs",
        "app/ui/train/changes.js",
        "  if (+had < value.revision) tabs.postMessage({draft: value.draft, revision: value.revision});\n",
        "",
        "another tab goes on showing captions that were changed",
        (f"{TYPED}::test_another_tab_shows_what_was_changed",),
    ),
    Break(
        "upload-reason",
        "app/ui/components/uploads.js",
        "failed(new Error(why(sending)));",
        "failed(new Error(''));",
        "a page does not say that the disk is full when it refuses a picture or a style",
        (f"{DROPPED}::test_why_files_did_not_come_in_is_said",),
    ),
    Break(
        "files-lost",
        "app/ui/train/dropzone.js",
        "tell(fill(words.lost, {n: n - looked, names: some(names.slice(looked))}));",
        "tell('');",
        "nobody is told which files did not arrive when the studio went away",
        (f"{DROPPED}::test_why_files_did_not_come_in_is_said",),
    ),
    Break(
        "setting-again",
        "app/ui/train/style.js",
        "const PATIENCE = 5000;\n",
        "const PATIENCE = 2e9;\n",
        "a setting typed while the studio was away is missing in the training",
        (
            "tests/app/ui/train/test_style.py"
            "::test_a_setting_that_is_typed_while_the_studio_is_away_is_sent_until_it_has_it",
        ),
    ),
    Break(
        "prompt-again",
        "app/ui/playground/form.js",
        "if (what === 'keep' && !line.length) line.push([what, about, after]);",
        "",
        "a prompt typed while the studio was away is gone when the Playground is opened again",
        ("tests/app/ui/playground/test_page.py::test_what_is_typed_while_the_studio_is_away_is_sent_until_it_has_it",),
    ),
    Break(
        "fields-damaged",
        "app/ui/playground/page.py",
        "notice = words.NOTICES.get(form.notice, form.notice)",
        'notice = ""',
        "the Playground shows older fields after their file was damaged, without a word",
        ("tests/app/ui/playground/test_page.py::test_fields_of_a_damaged_file_are_as_they_were_before_and_say_so",),
    ),
)
