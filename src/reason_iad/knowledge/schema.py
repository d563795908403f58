"""The schema of a knowledge file, checked on the YAML node tree so that every error can name its line."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import NoReturn

import yaml

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.entries import CategoryKnowledge, DefectKnowledge, field_names
from reason_iad.knowledge.names import is_identifier

MAX_TEXT = 1_000  # characters of one text: it must fit into a prompt among others
MAX_ITEMS = 100  # of one list
MAX_DEPTH = 8  # the schema needs 3
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 16 times faster where PyYAML was built with libyaml
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_REQUIRED = ("category", "name", "source", "language", "normal", "defects")


def parse_knowledge(text: str, file: str) -> CategoryKnowledge:
    """Parse the text of one knowledge file; `file` is only named in errors.

    Raises:
        KnowledgeError: not YAML, or against the schema; names file, line and field.
    """
    root = _compose(text, file)
    fields = _mapping(root, file, "the file", field_names(CategoryKnowledge), _REQUIRED)
    defects = []
    lines: dict[str, int] = {}
    for number, node in enumerate(_sequence(fields["defects"], file, "defects"), 1):
        defect = _defect(node, file, f"defects[{number}]")
        if defect.type in lines:
            _fail(
                file, node, f"defects[{number}].type", f"{defect.type!r} again (first on line {lines[defect.type]})",
                "one defect per type", "merge the two or rename one",
            )  # fmt: skip
        lines[defect.type] = _line(node)
        defects.append(defect)
    normal = _texts(fields["normal"], file, "normal")
    if not normal:
        _fail(file, fields["normal"], "normal", "an empty list", "at least one description of a good part")
    return CategoryKnowledge(
        category=_identifier(fields["category"], file, "category"),
        name=_text(fields["name"], file, "name"),
        source=_text(fields["source"], file, "source"),
        normal=normal,
        defects=tuple(defects),
        aliases=_texts(fields["aliases"], file, "aliases") if "aliases" in fields else (),
        standards=_texts(fields["standards"], file, "standards") if "standards" in fields else (),
        language=_matching(fields["language"], file, "language", _LANGUAGE, 'a language code such as "en"'),
    )


def _compose(text: str, file: str) -> yaml.Node:
    if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line = text[: odd.start()].count("\n") + 1
        raise KnowledgeError(
            f"{file}:{line}: the control character U+{ord(odd.group()):04X}; expected plain text: remove it"
        )
    try:
        _check_depth(text, file)
        # The safe loader's node tree, not objects: nodes carry lines, and no tag can construct anything.
        root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = " ".join(part for part in (error.context, error.problem) if part)
        if "maximum nesting depth" in reason:  # libyaml's own limit, met before ours in one long line
            raise _too_deep(file, line) from error
        raise KnowledgeError(
            f"{file}:{line}: broken YAML ({reason}); expected the form of docs/knowledge.md: put texts with a colon, "
            "a hash or a leading sign into quotes"
        ) from error
    if root is None:
        raise KnowledgeError(f"{file}:1: an empty file; expected the fields {', '.join(_REQUIRED)}")
    return root


def _check_depth(text: str, file: str) -> None:
    """Refuse deep nesting on the flat stream of events: composing nodes is recursive."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise _too_deep(file, line)


def _too_deep(file: str, line: int) -> KnowledgeError:
    return KnowledgeError(f"{file}:{line}: nested too deeply; expected the form of docs/knowledge.md")


def _defect(node: yaml.Node, file: str, where: str) -> DefectKnowledge:
    names = field_names(DefectKnowledge)
    fields = _mapping(node, file, where, names, names)
    return DefectKnowledge(
        type=_identifier(fields["type"], file, f"{where}.type"),
        **{name: _text(fields[name], file, f"{where}.{name}") for name in names if name != "type"},
    )


def _mapping(
    node: yaml.Node, file: str, where: str, known: tuple[str, ...], required: tuple[str, ...]
) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        _fail(file, node, where, _kind(node), f"fields ({', '.join(known)})")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "remove it"
            _fail(file, key, where, f"the unknown field {name!r}", f"only {', '.join(known)}", hint)
        if name in fields:
            _fail(file, key, f"{where}.{name}", f"a second {name!r}", "each field once", "remove or merge one")
        fields[name] = value
    if missing := [name for name in required if name not in fields]:
        _fail(file, node, where, f"no {', '.join(missing)}", f"all of {', '.join(required)}", "add what is missing")
    return fields


def _sequence(node: yaml.Node, file: str, where: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        _fail(file, node, where, _kind(node), "a list", 'start each item with "- "')
    if len(node.value) > MAX_ITEMS:
        _fail(file, node, where, f"{len(node.value)} items", f"at most {MAX_ITEMS}", "split the category")
    return list(node.value)


def _texts(node: yaml.Node, file: str, where: str) -> tuple[str, ...]:
    items = _sequence(node, file, where)
    texts = [_text(item, file, f"{where}[{number}]") for number, item in enumerate(items, 1)]
    for number, text in enumerate(texts):
        if text in texts[:number]:
            _fail(file, items[number], f"{where}[{number + 1}]", "the same text again", "each once", "remove one")
    return tuple(texts)


def _text(node: yaml.Node, file: str, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        _fail(file, node, where, _kind(node), "text", "put it into quotes")
    text = " ".join(str(node.value).split())
    if not text:
        _fail(file, node, where, "an empty text", "text")
    if odd := next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None):
        _fail(file, node, where, f"the control character U+{ord(odd):04X}", "plain text", "remove it")
    if len(text) > MAX_TEXT:
        _fail(file, node, where, f"{len(text):,} characters", f"at most {MAX_TEXT:,}", "split or shorten it")
    return text


def _matching(node: yaml.Node, file: str, where: str, pattern: re.Pattern[str], expected: str) -> str:
    text = _text(node, file, where)
    if not pattern.fullmatch(text):
        _fail(file, node, where, repr(text), expected)
    return text


def _identifier(node: yaml.Node, file: str, where: str) -> str:
    text = _text(node, file, where)
    if not is_identifier(text):
        _fail(file, node, where, repr(text), 'lower-case letters, digits and "_", such as "metal_nut"')
    return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "fields"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = node.tag.rpartition(":")[2]
    return "nothing" if kind == "null" else f"{node.value!r} (read as {kind})"


def _fail(file: str, node: yaml.Node, where: str, found: str, expected: str, remedy: str = "correct it") -> NoReturn:
    raise KnowledgeError(f"{file}:{_line(node)}: {where}: found {found}; expected {expected}: {remedy}")
