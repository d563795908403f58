"""Find the texts that people read in the source, as they are written: no mark is needed where the place says it.

Read off the syntax tree of every module outside `DEVELOPERS`:

- what stands under `_`, `several` and `translatable`;
- the message of every error of the `ReasonIADError` tree (and of argparse's `ArgumentTypeError`);
- `help`, `description`, `epilog` and titles of the command line, and the help of settings;
- what `say` and `note` print, and what callbacks of their name are given, and `tell`, `progress`;
- what is added to the `notes` and `warnings` of a report, a profile or labels (not of a benchmark, whose tables are
  English).

An f-string becomes a sentence with {holes}, named by what fills them. A part that is one of a few literals (a
condition, a local name, a constant) is written out, one sentence for each; literals deeper within a hole are texts of
their own. `languages.told` finds the sentence again when it is shown. Errors that are none of that tree, such as a
ValueError, tell developers of a fault in their code, and stay English.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.locale.places import MARKS, PACKAGE, constants, last, noted_by, said_by, sources, tree_of

MOST = 4  # sentences that one f-string is written out to

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Found:
    """A text of the source: where it stands, and the sentences that it may be."""

    path: str
    line: int
    texts: tuple[Text, ...]


def found_in_python(package: Path = PACKAGE) -> Iterator[Found]:
    """Every text that people read, of every module but the developers' own."""
    for path in sources(package):
        yield from Reader(path, path.relative_to(package).as_posix()).read()


def is_worded(text: str) -> bool:
    """Whether a text holds a word outside its holes: anything else needs no translation."""
    return not text.startswith("--") and re.search(r"[A-Za-z]{2}", re.sub(r"\{\w*\}", "", text)) is not None


@dataclass
class Reader:
    """Reads one module."""

    path: Path
    name: str
    local: dict[str, list[ast.expr]] = field(default_factory=dict)

    def read(self) -> Iterator[Found]:
        """Texts in the order of the source."""
        for call, local in self.calls():
            self.local = local
            for text in (*said_by(call), *self.noted(call)):
                if last(call.func) in MARKS and isinstance(text, ast.Constant):
                    yield Found(self.name, call.lineno, (str(text.value),))  # its holes are written as such
                else:
                    yield from self._found(text)
            if last(call.func) == "several":
                one, many = (ast.literal_eval(form) for form in call.args[:2])
                yield Found(self.name, call.lineno, ((one, many),))
            if last(call.func) == "counted" and isinstance(call.args[1], ast.Constant):
                one, *many = (ast.literal_eval(noun) for noun in call.args[1:])
                yield Found(self.name, call.lineno, (f"{{count}} {one}", f"{{count}} {many[0] if many else one + 's'}"))

    def noted(self, call: ast.Call) -> list[ast.expr]:
        """The texts that a call adds to notes."""
        return [] if self.name.startswith("benchmark/") else noted_by(call)

    def calls(self) -> Iterator[tuple[ast.Call, dict[str, list[ast.expr]]]]:
        """Every call, with what the local names around it may hold."""
        yield from self._within(tree_of(self.path), {})

    def _within(
        self, node: ast.AST, local: dict[str, list[ast.expr]]
    ) -> Iterator[tuple[ast.Call, dict[str, list[ast.expr]]]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            local = _assigned(node)
        if isinstance(node, ast.Call):
            yield node, local
        for child in ast.iter_child_nodes(node):
            yield from self._within(child, local)

    def _found(self, node: ast.expr) -> Iterator[Found]:
        fragments: list[str] = []
        texts = [text.replace("%%", "%") for text in dict.fromkeys(self.sentences(node, fragments)) if is_worded(text)]
        if texts:
            yield Found(self.name, node.lineno, tuple(texts))
        words = [text for text in dict.fromkeys(fragments) if is_worded(text)]
        if words:
            yield Found(self.name, node.lineno, tuple(words))

    def sentences(self, node: ast.expr, fragments: list[str]) -> list[str]:
        """What an expression of text may be, with {holes}; literals within holes are added to `fragments`."""
        names: dict[str, str] = {}
        plain = self._alternatives(node, names, fragments)
        return [] if plain is None else plain

    def _alternatives(self, node: ast.expr, names: dict[str, str], fragments: list[str]) -> list[str] | None:
        """Texts that a literal expression may be; None for one that is no literal."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value.replace("{", "{{").replace("}", "}}")]
        if isinstance(node, ast.JoinedStr):
            parts = [self._part(part, names, fragments) for part in node.values]
            while math.prod(map(len, parts)) > MOST:  # too many to write out: a hole, and what fills it by itself
                widest = max(range(len(parts)), key=lambda at: len(parts[at]))
                fragments += parts[widest]
                parts[widest] = [_hole(_filling(node.values[widest]), names)]
            return _product(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = self._each([node.left, node.right], names, fragments)
            return None if sides is None else _product(sides)
        if isinstance(node, ast.IfExp | ast.BoolOp):
            options = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
            branches = self._each(options, names, fragments)
            return None if branches is None else list(itertools.chain.from_iterable(branches))
        if isinstance(node, ast.Call) and last(node.func) in ("translatable", "told") and node.args:
            return self._alternatives(node.args[0], names, fragments)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
            return self._alternatives(node.func.value, names, fragments)  # such as of signs that a library would read
        if isinstance(node, ast.Name):
            return self._named(node, names, fragments)
        return None

    def _each(self, nodes: list[ast.expr], names: dict[str, str], fragments: list[str]) -> list[list[str]] | None:
        """What each of some expressions may be, a hole where it is no literal; None where none is one."""
        found = [self._alternatives(node, names, fragments) for node in nodes]
        if all(options is None for options in found):
            return None
        return [options or [_hole(node, names)] for options, node in zip(found, nodes, strict=True)]

    def _named(self, node: ast.Name, names: dict[str, str], fragments: list[str]) -> list[str] | None:
        held = (
            self.local.get(node.id)
            or [value for key in (f"{self.path}:{node.id}", node.id) if (value := constants().get(key)) is not None][:1]
        )
        if not held:
            return None
        outer, self.local = self.local, {**self.local, node.id: []}  # a name made from itself ends here
        try:
            options = [self._alternatives(value, names, fragments) for value in held]
        finally:
            self.local = outer
        if any(option is None for option in options):
            fragments += itertools.chain.from_iterable(option or [] for option in options)
            return None
        return list(itertools.chain.from_iterable(option or [] for option in options))

    def _part(self, node: ast.expr, names: dict[str, str], fragments: list[str]) -> list[str]:
        if isinstance(node, ast.FormattedValue):
            literal = self._alternatives(node.value, names, fragments) if node.conversion == -1 else None
            if literal is not None and node.format_spec is None:
                return literal
            fragments += _literals(node.value)
            return [_hole(node.value, names)]
        return self._alternatives(node, names, fragments) or [""]


def _assigned(function: ast.AST) -> dict[str, list[ast.expr]]:
    """Local names that hold nothing but text, with all that they may hold."""
    held: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple):
                    tuple_of = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] * len(target.elts)
                    pairs = list(zip(target.elts, tuple_of, strict=False))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        held.setdefault(name.id, []).append(value)
    return held


def _filling(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.FormattedValue) else node


def _product(parts: list[list[str]]) -> list[str]:
    return ["".join(one) for one in itertools.product(*parts)]


def _literals(node: ast.expr) -> list[str]:
    """Words among the literals of an expression that fills a hole: of a choice, an alternative, a table."""
    found: list[str] = []
    if isinstance(node, ast.IfExp):
        found += _literals(node.body) + _literals(node.orelse)
    elif isinstance(node, ast.BoolOp):
        found += [text for value in node.values for text in _literals(value)]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        found += [text for value in node.value.values for text in _literals(value)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found.append(node.value)
    return found


def _hole(node: ast.expr, names: dict[str, str]) -> str:
    """A hole named by what fills it; the same expression has the same name."""
    key = ast.dump(node)
    if key not in names:
        base = _word(node)
        taken = set(names.values())
        names[key] = next(name for n in itertools.count(1) if (name := base if n == 1 else f"{base}{n}") not in taken)
    return f"{{{names[key]}}}"


def _word(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower() or "value"
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower() or "value"
    if isinstance(node, ast.Call):
        inner = node.args[0] if node.args else node.func
        if isinstance(inner, ast.Attribute) and inner.attr in ("strip", "rstrip", "lower", "upper", "title"):
            inner = inner.value
        if isinstance(node.func, ast.Name) and node.func.id == "len":
            return "count"
        return _word(inner)
    if isinstance(node, ast.Subscript | ast.Starred | ast.Await):
        return _word(node.value)
    if isinstance(node, ast.BoolOp):
        return _word(node.values[0])
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _word(node.generators[0].iter)
    if isinstance(node, ast.BinOp):
        return _word(node.left)
    return "value"
