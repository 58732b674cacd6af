"""How a part of a page takes what the server sends: the newest stays, whatever comes late."""

from __future__ import annotations

import gradio as gr

from app.ui.components.live import merged_part, versioned
from app.ui.document.assets import read_scripts
from app.ui.document.templates import macro

PART = """([script, values]) => {
  const element = document.createElement('div'), props = {value: ''};
  element.innerHTML = '<div></div>';
  let changed = () => {};
  new Function('element', 'props', 'watch', script)(element, props, (_, then) => { changed = then; });
  return values.map(value => { props.value = value; changed(); return element.textContent; });
}"""
"""A part with the page's own script, and the text in it after each of some values."""

PATCH = (
    read_scripts("components/merge.js", "components/stale_guard.js", "components/patch.js") + "watch('value', patch);"
)


def test_the_frame_of_a_part_is_html():
    with gr.Blocks():
        plain, more = merged_part(), merged_part(below=macro("hint", "<b>"))
    assert str(plain.html_template) == "<div></div>" and not plain.value
    assert str(more.html_template) == '<div></div><p class="hint">&lt;b&gt;</p>'


def test_an_answer_that_was_overtaken_is_passed_over(browser):
    page = browser.new_page()
    values = [versioned(words, number) for number, words in ((2, "b"), (1, "a"), (2, "c"), (10, "d"), (9, "late"))]
    assert page.evaluate(PART, [PATCH, [*values, "<p>bare</p>"]]) == ["b", "b", "c", "d", "d", "bare"]
    page.close()


def test_what_replaces_a_focused_button_does_not_get_the_focus(browser):
    """Else a second Enter would do something else than was asked for."""
    page = browser.new_page()
    script = f"document.body.append(element);{PATCH}"
    values = [
        f"<h1>a run</h1><p>{macro('button', name, name)}{macro('button', 'last', 'last')}</p>"
        for name in ("restart", "cancel")
    ]
    focus = PART.replace("changed();", "changed(); if (value === values[0]) element.querySelector('button').focus();")
    assert page.evaluate(focus, [script, values]) == ["a runrestartlast", "a runcancellast"]
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.close()


def test_the_focus_of_a_button_that_waits_disabled_and_goes_is_on_the_heading_and_stays(browser):
    page = browser.new_page()
    script = f"document.body.append(element);{PATCH}"
    values = [f"<h1>a run</h1>{macro('button', 'stop', 'stop')}", "<h1>a run</h1>", "<h1>a run</h1><p>ended</p>"]
    waiting = PART.replace("return values.map(value => {", "return (async () => { for (const value of values) {")
    waiting = waiting.replace(
        "return element.textContent; });",
        """
      const button = element.querySelector('button');
      if (button) { button.focus(); button.disabled = true; }
      for (let k = 0; k < 100 && document.activeElement !== document.body && button; k++)
        await new Promise(requestAnimationFrame);
      if (!button) await new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame));
      document.title += ` ${document.activeElement.tagName}`;
    } return document.title; })();""",
    )
    assert page.evaluate(waiting, [script, values]) == "BODY H1 H1"
    page.close()


def test_a_row_that_is_moved_keeps_the_focus(browser):
    page = browser.new_page()
    rows = [f'<p data-key="{name}"><button id="{name}">{name}</button></p>' for name in "ab"]
    script = f"document.body.append(element);{PATCH}"
    values = ["".join(rows), "".join(reversed(rows))]
    focus = PART.replace("changed();", "changed(); if (value === values[0]) document.getElementById('b').focus();")
    assert page.evaluate(focus, [script, values]) == ["ab", "ba"]
    assert page.evaluate("document.activeElement.id") == "b"
    page.close()


def test_a_row_stays_where_it_is_when_one_above_it_goes(browser):
    """A node that moves loses the focus, and an input method what it was composing."""
    page = browser.new_page()
    rows = {name: f'<p data-key="{name}"><input id="{name}"></p>' for name in "abc"}
    values = [
        "".join(rows.values()),
        rows["b"] + rows["c"],
        rows["c"] + rows["a"].replace("<p", "<p hidden"),
    ]
    focus = PART.replace(
        "changed();",
        """changed();
        const field = document.getElementById('c');
        if (value === values[0]) { field.focus(); field.onblur = () => { document.title += 'lost'; }; }""",
    )
    page.evaluate(focus, [f"document.body.append(element);{PATCH}", values])
    assert page.evaluate("[document.activeElement.id, document.title]") == ["c", ""]
    page.close()


def test_what_comes_later_leaves_an_open_fold_as_it_is(browser):
    """An answer that began before the fold was opened comes without its fields; what is typed in them stays."""
    page = browser.new_page()
    fold = "<details data-keep><summary>{}</summary><div{}>{}</div></details>"
    full, bare = fold.format("1", "", "<input>"), fold.format("2", " data-later", "")
    values = [full, bare, full, bare]
    script = f"document.body.append(element);{PATCH}"
    typed = PART.replace(
        "return element.textContent;",
        """const field = element.querySelector('input'), fold = element.querySelector('details');
        const said = [element.textContent, field?.value ?? null, Boolean(element.querySelector('[data-later]'))];
        if (said[1] === '') { fold.open = true; field.value = 'seed'; }
        if (said[0] === '1' && said[1] === 'seed') fold.open = false;
        return said;""",
    )
    assert page.evaluate(typed, [script, values]) == [
        ["1", "", False],
        ["2", "seed", True],
        ["1", "seed", False],
        ["2", None, True],
    ]
    page.close()
