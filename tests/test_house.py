"""How the house is built: what may import what, how long things are, what every method says of itself.

Each rule is one test that lists whatever breaks it. Exceptions only shrink: the tests warn of those that nothing needs.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path

from tools.figures import lines
from tools.messages import ERRORS
from trainers.adapters.methods import METHODS

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "trainers", "presets", "tools", "benchmarks", "installer")
LONGEST_FILE, LONGEST_FUNCTION, LARGEST_FOLDER = 500, 60, 15
LONG_SENTENCE = 45
"""Letters from which on a sentence stands in one file only."""
LONGEST_CHAIN: dict[str, int] = {"trainers": 16}
"""How many modules of a package import one another in a row at most."""
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "gradio", "numpy", "PIL")

LAYERS = ("trainers", "app.units", "app.errors", "app.startup", "app.transactions", "app.state_file",
          "app.jobs", "app.studio", "app.ui", "app.cli")  # fmt: skip
"""What lies above may import what lies below."""
UPWARD: dict[str, set[str]] = {}
"""Exceptions: modules that import a layer above their own."""

REGISTRIES = ("trainers/adapters/methods",)
"""Folders of one file a method, which may grow."""
LARGE: dict[str, int] = {}
"""Exceptions: folders of more modules than `LARGEST_FOLDER`, and how many they have."""

CIRCLES: dict[str, set[str]] = {}
"""Exceptions: imports between neighbours that close a circle."""

GLUED: set[str] = set()
"""Exceptions: files that raise errors made of pieces."""

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
Graph = Mapping[str, set[str]]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = {name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in SOURCES}


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(tree_of(path)))


@cache
def imports(path: Path) -> frozenset[str]:
    """What a file imports at run time, inside functions too, but not for type checking alone: modules and names."""
    pending: list[ast.AST] = [tree_of(path)]
    found: set[str] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names
            # A package is imported for what is in it; its own file matters where that is not a module.
            if not names <= MODULES.keys():
                found.add(node.module or "")
        else:
            pending += ast.iter_child_nodes(node)
    return frozenset(found)


def modules_imported(path: Path) -> set[str]:
    """The modules of this house that a file imports."""
    return imports(path) & MODULES.keys()


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer_of(module: str) -> int | None:
    return next((height for height, layer in enumerate(LAYERS) if is_in(module, layer)), None)


def tell_idle(name: str, exceptions: Collection[object]) -> None:
    """Say which exceptions nothing needs any more: they go out of the list, so that it only shrinks."""
    if exceptions:
        warnings.warn(f"take out of {name} or lower there: {sorted(map(str, exceptions))}", stacklevel=2)


def test_there_is_something_to_look_at():
    assert {name_of(path).split("/")[0] for path in SOURCES} == set(PACKAGES) and len(SOURCES) > 50
    found = imports(ROOT / "trainers" / "training" / "train.py")
    assert {"torch", "trainers.training.loop", "trainers.training.loop.take_steps"} <= found
    assert "trainers.sampling.sample" not in found


def test_the_source_stays_within_its_budget():
    budget = (ROOT / "tests" / "lines.txt").read_text(encoding="utf-8").splitlines()
    most, used = int(budget[-1].split()[0]), lines(ROOT, "py", "app", "trainers")
    assert used <= most, f"{used} lines of Python: remove some, or end tests/lines.txt with “{used}  your reason”"
    if most - used > 300:
        warnings.warn(f"lower the budget in tests/lines.txt to {used}", stacklevel=2)


def test_imports_go_one_way():
    inward = {"trainers", "presets"}
    outward: dict[str, tuple[str, ...]] = {"app": (), "tools": ("app",), "benchmarks": ("tools",), "installer": ()}
    allowed = {outer: {outer, *more, *inward} for outer, more in outward.items()}
    wrong = {}
    for path in SOURCES:
        own = name_of(path).split("/")[0]
        roots = {name.split(".")[0] for name in imports(path)} & {*PACKAGES, "tests"}
        if found := roots - allowed.get(own, inward):
            wrong[name_of(path)] = found
    assert wrong == {}


def test_the_installer_needs_nothing_that_has_to_be_installed():
    imported = {
        name.split(".")[0] for path in SOURCES if name_of(path).startswith("installer/") for name in imports(path)
    }
    assert "argparse" in imported and imported - sys.stdlib_module_names == {"installer"}


def test_adapters_import_no_model_library_and_nothing_else_of_the_trainers():
    inner = re.compile(r"trainers\.(adapters|randomness|errors|messages|section|wrappers)\b")
    libraries = {"diffusers", "transformers", "peft"}
    wrong = {}
    for path in SOURCES:
        if name_of(path).startswith("trainers/adapters/"):
            outside = {name for name in imports(path) if name.startswith("trainers.") and not inner.match(name)}
            if found := outside | libraries & {name.split(".")[0] for name in imports(path)}:
                wrong[name_of(path)] = found
    assert wrong == {}


def test_imports_inside_a_package_are_absolute():
    nodes = ((path, node) for path in SOURCES for node in nodes_of(path) if isinstance(node, ast.ImportFrom))
    assert [f"{name_of(path)}:{node.lineno}" for path, node in nodes if node.level] == []


def test_no_layer_imports_one_above_it():
    upward: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        own = layer_of(module)
        heights = {layer_of(found) for found in modules_imported(path)} - {None}
        above = {LAYERS[height] for height in heights if height is not None and own is not None and height > own}
        if above:
            upward[module] = above
    assert sorted(edges(upward) - edges(UPWARD)) == [], "imports from a layer above"
    tell_idle("UPWARD", edges(UPWARD) - edges(upward))


def test_the_queue_and_the_library_name_no_module_of_the_studio():
    """Whoever starts a process of another layer passes the name of its module down."""
    named = re.compile(r"\bapp\.(studio|ui|cli)\b")
    inner = [path for path in SOURCES if name_of(path).startswith(("app/jobs/", "trainers/"))]
    assert len(inner) > 100
    assert {name_of(path): match[0] for path in inner if (match := named.search(text_of(path)))} == {}


def test_no_folder_holds_many_modules():
    counts = Counter(name_of(path.parent) for path in SOURCES if path.name != "__init__.py")
    large = {name: count for name, count in counts.items() if count > LARGEST_FOLDER and name not in REGISTRIES}
    assert {name: count for name, count in large.items() if count > LARGE.get(name, 0)} == {}, "too many modules"
    tell_idle("LARGE", {name for name, count in LARGE.items() if large.get(name, 0) < count})


def test_no_modules_import_each_other_in_a_circle():
    assert circles({module: modules_imported(path) - {module} for module, path in MODULES.items()}) == []


def test_no_folders_import_each_other_in_a_circle():
    graph = neighbours()
    wanted = {one: others - CIRCLES.get(one, set()) for one, others in graph.items()}
    assert circles(wanted) == [], "folders that import each other"
    closing = {(one, other) for one, others in CIRCLES.items() for other in others if reaches(graph, other, one)}
    tell_idle("CIRCLES", edges(CIRCLES) - (closing & edges(graph)))


def test_chains_of_imports_are_short():
    for package, longest in LONGEST_CHAIN.items():
        inside = {module: path for module, path in MODULES.items() if is_in(module, package)}
        graph = {module: modules_imported(path) & inside.keys() - {module} for module, path in inside.items()}
        chain = longest_chain(graph)
        assert len(chain) <= longest, " → ".join(chain)
        tell_idle("LONGEST_CHAIN", [package] if len(chain) < longest else [])


def neighbours() -> dict[str, set[str]]:
    """What each module and folder imports of those that lie beside it, counting all that is inside a folder."""
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for imported in modules_imported(path):
            one, other = module.split("."), imported.split(".")
            common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
            if common < min(len(one), len(other)):
                graph.setdefault(".".join(one[: common + 1]), set()).add(".".join(other[: common + 1]))
    return graph


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(one, other) for one, others in graph.items() for other in others}


def reaches(graph: Graph, start: str, goal: str) -> bool:
    seen, pending = set(), [start]
    while pending:
        node = pending.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            pending += graph.get(node, ())
    return False


def circles(graph: Graph) -> list[list[str]]:
    """Groups of which each member reaches each other: what is left when the ends are taken off, again and again."""
    left = {one: set(others) for one, others in graph.items()}
    while ends := {one for one, others in left.items() if not others & left.keys()}:
        left = {one: others for one, others in left.items() if one not in ends}
    groups = {frozenset(o for o in left if reaches(left, one, o) and reaches(left, o, one)) for one in left}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def longest_chain(graph: Graph) -> tuple[str, ...]:
    """The longest way along the arrows of a graph without circles."""

    @cache
    def chain_from(node: str) -> tuple[str, ...]:
        return (node, *max((chain_from(other) for other in sorted(graph.get(node, ()))), key=len, default=()))

    return max((chain_from(node) for node in sorted(graph)), key=len)


def test_the_longest_chain_is_found():
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"d"}, "e": {"a", "d"}}
    assert longest_chain(graph) == ("e", "a", "b", "c", "d") and longest_chain({"a": set()}) == ("a",)


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "f": {"a"}}
    assert circles(graph) == [["a", "b", "c"]] and circles(graph | {"c": {"d"}}) == []


def test_the_process_of_a_job_loads_torch_after_it_has_limited_its_threads():
    code = "import sys, app.studio.run_job; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "False"


def test_the_command_line_starts_without_anything_heavy():
    code = f"import sys, app.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_files_are_short():
    lengths = {name_of(path): len(text_of(path).splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_a_sentence_stands_in_one_file():
    files: dict[str, set[str]] = {}
    for path in SOURCES:
        nodes = nodes_of(path)
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        texts = {node.value for node in nodes if isinstance(node, ast.Constant) and node not in docstrings}
        for text in texts:
            if isinstance(text, str) and len(text) > LONG_SENTENCE and " " in text:
                files.setdefault(text, set()).add(name_of(path))
    assert {sentence: names for sentence, names in files.items() if len(names) > 1} == {}


def test_functions_are_short():
    lengths = {}
    for path in SOURCES:
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lengths[f"{name_of(path)}:{node.lineno} {node.name}"] = node.end_lineno - node.lineno + 1
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_every_module_says_what_it_is_for():
    words = {name_of(path): ast.get_docstring(tree_of(path)) or "" for path in SOURCES if tree_of(path).body}
    assert {name: text for name, text in words.items() if not re.match(r".{10,}?[.:]", text, re.DOTALL)} == {}


def test_html_is_made_by_templates():
    found = {name_of(path) for path in SOURCES if name_of(path).startswith("app/") and makes_html(tree_of(path))}
    assert sorted(found) == [], "HTML in f-strings, where a template would escape what stands in it"


def makes_html(tree: ast.AST) -> bool:
    """Whether an f-string within holds a tag."""
    texts = (
        "".join(str(part.value) if isinstance(part, ast.Constant) else "¤" for part in node.values)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
    )
    return any(re.search(r"</?[a-z][\w-]*[\s/>]|</¤", text) for text in texts)


def test_html_in_a_string_is_found():
    assert all(makes_html(ast.parse(code)) for code in ("""f'<a href="{x}">'""", 'f"{x}</p>"', 'f"</{x}>"'))
    assert not any(makes_html(ast.parse(code)) for code in ('f"{x} < 3"', 'f"<{x}>"', '"<p>"'))


def test_errors_are_raised_with_whole_templates():
    found = {name_of(path) for path in SOURCES if name_of(path).startswith(("app/", "trainers/"))
             and any(glues(node) for node in errors_of(path))}  # fmt: skip
    assert sorted(found - GLUED) == [], "errors that could be said in English only"
    tell_idle("GLUED", GLUED - found)


def test_every_error_with_a_template_is_collected():
    templated = {name for name, kind in error_classes().items() if not own_form(kind)}
    assert templated | {"LayoutError"} == set(ERRORS)  # which is a ValueError, and completes a sentence


@cache
def error_classes() -> Mapping[str, ast.ClassDef]:
    """VelaturaError and all below it, by name."""
    classes = [node for path in SOURCES for node in nodes_of(path) if isinstance(node, ast.ClassDef)]
    found = {"VelaturaError": next(kind for kind in classes if kind.name == "VelaturaError")}
    while more := {kind.name: kind for kind in classes if kind.name not in found and bases_of(kind) & found.keys()}:
        found |= more
    return found


def bases_of(kind: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split(".")[-1] for base in kind.bases}


def called(call: ast.Call) -> str | None:
    """The last name of what is called."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None)


def own_form(kind: ast.ClassDef) -> bool:
    """Whether an error is made of something else than a template."""
    made = [node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return kind.name != "VelaturaError" and bool(made)


def errors_of(path: Path) -> Iterator[list[ast.expr]]:
    """What the errors in a file are made of, local variables by what they were assigned."""
    errors = {*error_classes(), *ERRORS}
    for scope in nodes_of(path):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            assigned = dict(assignments(scope))
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and called(node) in errors:
                    yield [assigned.get(one.id, one) if isinstance(one, ast.Name) else one for one in node.args]


def assignments(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def glues(arguments: list[ast.expr]) -> bool:
    """Whether one of the arguments is put together of pieces."""
    return any(isinstance(one, ast.JoinedStr | ast.BinOp) or is_joined(one) for one in arguments)


def is_joined(made: ast.expr) -> bool:
    """Whether this is `", ".join(…)` or `"…".format(…)`."""
    is_method = isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute)
    return is_method and isinstance(made.func.value, ast.Constant) and made.func.attr in ("join", "format")


def test_glued_errors_are_found():
    wrong = ('f"{x} is"', '"a" + b', '"%s is" % x', '" or ".join(x)', '"{} is".format(x)')
    assert all(glues([ast.parse(code, mode="eval").body]) for code in wrong)
    assert not any(glues([ast.parse(code, mode="eval").body]) for code in ('"{x} is"', "SAID.format(x)", "_(x)"))


def texts() -> Iterator[tuple[str, str]]:
    skipped = {".git", ".venv", "outputs", "build", "dist", "__pycache__", "node_modules", ".hypothesis"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(set(folders) - skipped - {f for f in folders if f.endswith((".egg-info", "_cache"))})
        for path in (Path(folder, name) for name in sorted(set(names) - skipped)):
            if path.stat().st_size > 2**20:
                continue
            try:
                yield name_of(path), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture, weights


def test_no_text_names_a_place_on_somebody_s_machine():
    places = re.compile(
        "|".join((r"(?<![\w.])/" + "work/", "/tmp" + "/w/", r"\.\./" + "shared", r"(?<!\w)/" + "root/"))
    )
    read = dict(texts())
    found = {name: match[0] for name, text in read.items() if (match := places.search(text))}
    assert found == {} and {"README.md", "docs/design.md", "app/cli/main.py"} <= read.keys()
    assert places.search("see .." + "/shared/x") and places.search(" /" + "work/main")


def test_every_method_says_what_it_is():
    assert {name: found for name in METHODS if (found := list(unsaid(name)))} == {}


def unsaid(name: str) -> Iterable[str]:
    """What a method's class and module should say and do not."""
    kind = METHODS[name]
    module = sys.modules[kind.__module__].__doc__ or ""
    numbers = re.findall(r"\d{4}\.\d{5}", kind.about.paper)
    if kind().name != name:
        yield "its own name"
    if not re.fullmatch(r"[A-Z].{20,110}\.", kind.about.summary):
        yield "a summary of one sentence"
    if not numbers or any(number not in module for number in numbers):
        yield "its paper, in the module too"
    if not all(re.search(r"(ΔW|ΔW\(t\)|y|b') = ", text or "") for text in (module, kind.__doc__)):
        yield "its formula, in the module and the class"
    if not re.search(r"\w \((out|u_out|b|n|r),", module):
        yield "the shapes of what it trains, such as B (out, r)"
