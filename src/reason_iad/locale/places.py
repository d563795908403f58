"""Where the source holds texts that people read: which modules, which calls, and which of their arguments."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
DEVELOPERS = (
    "training",
    "locale/catalogs.py",
    "locale/extract.py",
    "locale/places.py",
    "recognition/build_prototypes.py",
)
MARKS = ("_", "several", "translatable")
SPOKEN = ("say", "_say", "note", "tell", "progress")
HELP = ("help", "description", "epilog", "title")
NOTES = ("notes", "warnings")


def sources(package: Path = PACKAGE) -> list[Path]:
    """Modules whose texts people read."""
    names = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    return [package / name for name in names if not name.startswith(DEVELOPERS)]


@functools.cache
def errors(package: Path = PACKAGE) -> frozenset[str]:
    """Names of the classes whose message people read: the tree of `ReasonIADError`, wherever it grows."""
    bases: dict[str, set[str]] = {}
    for path in sources(package):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(last(base) for base in node.bases)
    known = {"ReasonIADError", "ArgumentTypeError"}
    while more := {name for name, over in bases.items() if over & known} - known:
        known |= more
    return frozenset(known)


@functools.cache
def constants(package: Path = PACKAGE) -> dict[str, ast.expr]:
    """Texts that modules keep under names of capitals."""
    found: dict[str, ast.expr] = {}
    for path in sources(package):
        for node in tree_of(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and _is_text(node.value):
                name = node.targets[0].id
                if name.isupper():
                    found[f"{path}:{name}"] = found[name] = node.value
    return found


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text("utf-8"))


def last(node: ast.expr) -> str:
    """The last part of a dotted name, such as `append` of `job.notes.append`; empty for what is no name."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def said_by(node: ast.Call) -> list[ast.expr]:
    """The texts that a call makes people read; those of `several` apart."""
    name = last(node.func)
    if name in ("_", "translatable", *SPOKEN) or name in errors():
        state = len(node.args) > 1 if name == "_say" else name == "tell" and isinstance(node.func, ast.Attribute)
        return [] if state else node.args[:1]  # a job or a process tells its state, which is no text
    if name == "HttpProblem":
        return node.args[2:3]
    texts = [key.value for key in node.keywords if key.arg in HELP and name in ("add_argument", "add_parser", "add")]
    if name in ("add_argument_group", "setting"):
        texts += node.args[1:2] if name == "setting" else node.args[:2]
        texts += [key.value for key in node.keywords if key.arg == "told"]
    if name == "Progress":
        return [key.value for key in node.keywords if key.arg == "verb"]
    if name in ("Parser", "ArgumentParser"):
        texts += [key.value for key in node.keywords if key.arg in HELP]
    return texts


def noted_by(node: ast.Call) -> list[ast.expr]:
    """The texts that a call adds to notes: as one of its arguments by name, or by `notes.append` and `.extend`."""
    texts = [key.value for key in node.keywords if key.arg in NOTES]
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "extend"):
        texts += node.args[:1] if last(node.func.value).strip("_") in NOTES else []
    return [text for one in texts for text in _members(one)]


def _members(node: ast.expr) -> list[ast.expr]:
    """The members of an expression that makes several texts, or the one that it is."""
    if isinstance(node, ast.Tuple | ast.List):
        return [text for one in node.elts for text in _members(one)]
    if isinstance(node, ast.Starred):
        return _members(node.value)
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _members(node.elt)
    if isinstance(node, ast.Call) and last(node.func) in ("tuple", "list"):
        return [text for one in node.args for text in _members(one)]
    return [node]
