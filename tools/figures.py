"""Figures of the house: `python -m tools.figures [CHECKOUT …]` prints a column for each checkout, this one by default.

`docs/design.md` ends with them. A fact that many files repeat shows as the number of files that name an example of it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tools.markdown import table

ROOT = Path(__file__).parents[1]
CODE = ("app", "trainers")
PAGE_REFRESH = ("wire(", "now/stream", "gr.Timer(", "again.js", "}, EVERY);")
"""An example of each way in which a page of the studio was ever made to show something newer: the answer to a click,
the stream, a timer of Gradio's, one of a part's, and one of the log's. A public link, which cannot read the stream,
asks for its page every ten seconds."""
EMPTY_NOUNS = ("found", "one", "own", "said")
Checkout = Path


def lines(checkout: Checkout, suffix: str, *folders: str) -> int:
    """Lines of the files with a suffix in these folders."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(checkout, suffix, *folders))


def files(checkout: Checkout, suffix: str, *folders: str) -> list[Path]:
    """The files with a suffix in these folders, without static files of others."""
    found = [path for folder in folders for path in (checkout / folder).rglob(f"*.{suffix}")]
    return sorted(path for path in found if not path.name.endswith(f".min.{suffix}"))


def words(checkout: Checkout, page: str) -> int:
    """Words of a page; 0 where there is none."""
    path = checkout / page
    return len(path.read_text(encoding="utf-8").split()) if path.exists() else 0


def naming(checkout: Checkout, word: str, apart_from: str = "") -> int:
    """Source files that name something, but those whose path matches `apart_from`."""
    pattern, apart = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])"), re.compile(apart_from or r"\A\Z")
    paths = [path for suffix in ("py", "js", "html") for path in files(checkout, suffix, *CODE)]
    places = [path for path in paths if not apart.search(path.relative_to(checkout).as_posix())]
    return sum(bool(pattern.search(path.read_text(encoding="utf-8"))) for path in places)


def trees(checkout: Checkout) -> Mapping[str, ast.Module]:
    """The parsed modules of the code by dotted name."""
    found = {}
    for path in files(checkout, "py", *CODE):
        name = path.relative_to(checkout).as_posix().removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def circles(checkout: Checkout) -> int:
    """Groups of modules that import one another, imports for types included, those inside of functions not."""
    modules = trees(checkout)
    graph = {name: {each for each in _imported(tree) if each in modules} - {name} for name, tree in modules.items()}
    reached = {name: _reach(graph, name) for name in graph}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sum(bool(group) for group in groups)


def _imported(tree: ast.Module) -> Iterable[str]:
    for node in ast.iter_child_nodes(tree):
        for inner in [node, *(node.body if isinstance(node, ast.If) else ())]:
            if isinstance(inner, ast.ImportFrom):
                yield from (f"{inner.module}.{alias.name}" for alias in inner.names)
                yield inner.module or ""


def _reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    pending = [*graph[start]]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += graph[name]
    return reached


def docstrings_that_begin(checkout: Checkout, word: str) -> int:
    """Docstrings of modules, classes and functions that begin with a word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for tree in trees(checkout).values() for node in ast.walk(tree) if isinstance(node, kinds))
    return sum((ast.get_docstring(node) or "").startswith(f"{word} ") for node in nodes)


def locals_called(checkout: Checkout, *names: str) -> int:
    """Assignments to these names."""
    counts: Counter[str] = Counter()
    for tree in trees(checkout).values():
        counts.update(
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        )
    return sum(counts[name] for name in names)


def uses(checkout: Checkout, *texts: str) -> int:
    """How many of these texts some source file has."""
    sources = [path for suffix in ("py", "js", "html") for path in files(checkout, suffix, "app")]
    contents = [path.name + "\n" + path.read_text(encoding="utf-8") for path in sources]
    return sum(any(text in content for content in contents) for text in texts)


FIGURES: Mapping[str, Callable[[Checkout], int]] = {
    "lines of Python in `app` and `trainers`": lambda at: lines(at, "py", *CODE),
    "lines of JS, CSS and HTML": lambda at: sum(lines(at, suffix, "app") for suffix in ("js", "css", "html")),
    "lines of `tools/starter`": lambda at: lines(at, "py", "tools/starter"),
    "lines of its tests": lambda at: lines(at, "py", "tests/tools/starter"),
    "lines of all tests": lambda at: lines(at, "py", "tests"),
    "words of `README.md`": lambda at: words(at, "README.md"),
    "words of `docs/design.md`": lambda at: words(at, "docs/design.md"),
    "ways in which a page is kept up to date": lambda at: uses(at, *PAGE_REFRESH),
    "files that name one method (`selora`) beside its own": lambda at: naming(at, "selora", r"methods/selora\.py"),
    "files that name one setting (`huber_delta`)": lambda at: naming(at, "huber_delta"),
    "files that name one family (`z-image`) outside of families": lambda at: naming(at, "z-image", r"/families/"),
    "files that name one generation option (`guidance`)": lambda at: naming(at, "guidance"),
    "groups of modules that import one another, types included": circles,
    'docstrings that begin with "What"': lambda at: docstrings_that_begin(at, "What"),
    "locals called `found`, `one`, `own`, `said`": lambda at: locals_called(at, *EMPTY_NOUNS),
}


def main(*checkouts: str) -> None:
    """Print the figures of the checkouts as a table."""
    folders = [Path(each) for each in checkouts] or [ROOT]
    rows = [(name, *(f"{figure(folder):,}" for folder in folders)) for name, figure in FIGURES.items()]
    print("\n".join(table(("", *(folder.resolve().name for folder in folders)), rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
