"""The catalogues of the studio's texts: collects all messages and updates `app/locale/*/LC_MESSAGES/messages.po`.

python -m tools.messages            update the catalogues; what is new in them has no translation yet
python -m tools.messages --check    say what is missing in them, stale, or has other placeholders
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from app.language import CATALOGUE, ENGLISH, LANGUAGES, LOCALE
from app.studio.settings.fields import title_of
from trainers.adapters.methods import METHODS
from trainers.config.reference import list_folder_settings, list_settings
from trainers.data.sample_sets import read_sets

ROOT = Path(__file__).parents[1]
FOLDERS = ("app", "trainers")
ERRORS = (
    "BusyError",
    "ChangedError",
    "DamagedCheckpointError",
    "DamagedQueueError",
    "FencedError",
    "LayoutError",
    "LimitError",
    "LostClusterError",
    "LostNodeError",
    "NeedsTokenError",
    "OfflineError",
    "OtherBaseError",
    "NewerJournalError",
    "NotOwnerError",
    "VelaturaError",
    "TakenError",
)
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "Message": None,
    "plural": (1, 2),
    "forms": (1, 2),
    "UnreadableError": (2,),
    "about_files": (2, 3),
    "RefusalError": (2,),
    **dict.fromkeys(ERRORS),
}
"""What is called with a template, as babel has it: None for the first argument."""
PLACEHOLDER = re.compile(r"\{(\w*)[^{}]*\}")
WIDTH = 110


def collect() -> Catalog:
    """Every message of the code, the settings and the methods, with the files in which it stands."""
    found = Catalog(charset="utf-8")
    for folder in FOLDERS:
        for name, line, message, comments, context in extract_from_dir(
            ROOT / folder, [("**.py", "python")], keywords=KEYWORDS, comment_tags=("NOTE:",), strip_comment_tags=True
        ):
            found.add(message, None, [(f"{folder}/{name}", line)], auto_comments=comments, context=context)
    for text, place in described():
        found.add(text, None, [(place, 1)])
    return found


def described() -> Iterator[tuple[str, str]]:
    """What settings, methods and sample sets say of themselves, with the files in which it is read."""
    for setting in (*list_settings(), *list_folder_settings()):
        yield title_of(setting.key), "app/studio/settings/fields.py"
        if setting.meaning:
            yield setting.meaning, "docs/settings.md"
    for method in METHODS.values():
        about, ranks = method.about, method.about.ranks
        texts = (about.summary, about.good_at, *((ranks.word, ranks.hint) if ranks else ()))
        yield from ((text, "docs/methods.md") for text in texts if text)
    yield from ((each.title, "presets/samples/samples.json") for each in read_sets().values())


def path_of(language: str) -> Path:
    """The catalogue of a language."""
    return LOCALE / language / CATALOGUE


def read(language: str) -> Catalog:
    """The catalogue of a language; an empty one where there is none yet."""
    path = path_of(language)
    if not path.exists():
        return Catalog(locale=language, project="Velatura", charset="utf-8", fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def update(language: str, wanted: Catalog) -> None:
    """Add the new messages to a catalogue and remove those that nothing says any more."""
    known = read(language)
    known.update(wanted, no_fuzzy_matching=True, update_creation_date=False)
    known.obsolete.clear()
    write(language, known)


def write(language: str, entries: Catalog) -> None:
    """Write a catalogue in the order of the files, without numbers of lines, which change with every edit."""
    path_of(language).parent.mkdir(parents=True, exist_ok=True)
    with path_of(language).open("wb") as file:
        write_po(file, entries, width=WIDTH, sort_by_file=True, include_lineno=False)


def find_problems(language: str, wanted: Catalog) -> list[str]:
    """What is wrong with a catalogue, a line each."""
    ours, needed = ({key_of(each): each for each in entries if each.id} for entries in (read(language), wanted))
    problems = [f"missing: {key!r}" for key in needed.keys() - ours.keys()]
    problems += [f"stale: {key!r}" for key in ours.keys() - needed.keys()]
    for key in needed.keys() & ours.keys():
        problems += [f"{problem}: {key!r}" for problem in _faults(ours[key])]
    return sorted(problems)


def key_of(entry: Entry) -> str:
    """The template by which an entry is looked up."""
    return entry.id if isinstance(entry.id, str) else entry.id[0]


def _faults(entry: Entry) -> Iterator[str]:
    originals = [entry.id] if isinstance(entry.id, str) else list(entry.id)
    given = [entry.string] if isinstance(entry.string, str) else list(entry.string or ())
    if entry.fuzzy:
        yield "fuzzy"
    if len(given) != len(originals) or not all(given):
        yield "untranslated"
        return
    for original, said in zip(originals, given, strict=True):
        # The singular may spell its number out.
        names, others = placeholders(original), placeholders(said)
        if names != others and not (len(originals) == 2 and original == originals[0] and names - others == {"count"}):
            yield f"placeholders {sorted(names)} and {sorted(others)}"


def placeholders(template: str) -> set[str]:
    """The names of what is put into a template; by place they have numbers."""
    found = PLACEHOLDER.findall(template.replace("{{", "").replace("}}", ""))
    return {name or str(place) for place, name in enumerate(found)}


def main() -> int:
    """Update or check the catalogues of all languages but English; the exit code."""
    languages, wanted = [name for name in LANGUAGES if name != ENGLISH], collect()
    if "--check" in sys.argv[1:]:
        problems = [f"{name}: {problem}" for name in languages for problem in find_problems(name, wanted)]
        print("\n".join(problems) or "The catalogues are complete.")
        return bool(problems)
    for name in languages:
        update(name, wanted)
        entries = [each for each in read(name) if each.id]
        print(f"{path_of(name)}: {sum(1 for each in entries if not any(_faults(each)))} of {len(entries)} translated")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
