"""Changing categories by command: adding, correcting, and writing them as files people can go on editing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import yaml

from reason_iad.errors import InputError, KnowledgeError
from reason_iad.knowledge.base import read_base
from reason_iad.knowledge.changes import apply_changes, writing
from reason_iad.knowledge.entries import STARTER_FOLDER, CategoryKnowledge, DefectKnowledge, field_names, load_file
from reason_iad.knowledge.names import identifier
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.knowledge.schema import parse_knowledge


def dump_category(knowledge: CategoryKnowledge) -> str:
    """A category as the text of its file; reading it gives the same category."""
    lines = [f"category: {knowledge.category}", f"name: {_scalar(knowledge.name)}"]
    if knowledge.aliases:
        lines.append(f"aliases: [{', '.join(_scalar(alias, flow=True) for alias in knowledge.aliases)}]")
    lines += [f"source: {_scalar(knowledge.source)}", f"language: {_scalar(knowledge.language)}", "normal:"]
    lines += [f"  - {_scalar(text)}" for text in knowledge.normal]
    lines.append("defects:" if knowledge.defects else "defects: []")
    for defect in knowledge.defects:
        for number, name in enumerate(field_names(DefectKnowledge)):
            lines.append(f"  {'-' if number == 0 else ' '} {name}: {_scalar(getattr(defect, name))}")
    if knowledge.standards:
        lines += ["standards:", *(f"  - {_scalar(text)}" for text in knowledge.standards)]
    return "\n".join(lines) + "\n"


def own_text(base: Path, name: str) -> tuple[str, str]:
    """File name in the base and text of a category, taken from the starter knowledge where the base has none.

    Raises:
        InputError: no such category.
        KnowledgeError: it has only imported entries.
    """
    known = KnowledgeBase.load(base=base)
    category = known.check_category(name)
    for path in sorted(base.glob("*.y*ml")):
        if parse_knowledge(path.read_text("utf-8"), str(path)).category == category:
            return path.name, path.read_text("utf-8")
    shipped = STARTER_FOLDER / f"{category}.yaml"
    if shipped.is_file():
        return f"{category}.yaml", shipped.read_text("utf-8")
    raise KnowledgeError(
        f"{category} has imported entries only; expected a category file: make one with `reason-iad knowledge add`"
    )


def save_text(base: Path, file: str, text: str, before: str | None = None) -> CategoryKnowledge:
    """Check a category's text and put it into the base.

    Args:
        base: the user's folder.
        file: name of the category's file in it.
        text: what the file shall hold.
        before: what it held, or the starter's file, when the change was begun; None for whatever it holds.

    Raises:
        KnowledgeError: against the schema, a name that leads to two of the user's categories, or changed meanwhile.
    """
    knowledge = parse_knowledge(text, file)
    with writing(base):
        if before is not None and (_text_of(base / file) or before) != before:
            raise KnowledgeError(f"{base / file} was changed by someone else meanwhile; look at it and edit again")
        _put(base, file, text)
    return knowledge


def approve_draft(base: Path, draft: Path, approval: str) -> CategoryKnowledge:
    """Put a draft into the base and remove it; a category that is known keeps what it has and gains what is new.

    Args:
        base: the user's folder.
        draft: the draft's file in it.
        approval: who approved it and when, for the source.

    Raises:
        KnowledgeError: against the schema.
    """
    with writing(base):
        drafted = load_file(draft)
        source = f"{drafted.source.removesuffix('; not approved')}; {approval}"
        known = _find(base, drafted.category)
        approved = dataclasses.replace(drafted, source=source)
        if known is not None:
            normal = tuple(text for text in drafted.normal if text not in known.normal)
            defects = tuple(defect for defect in drafted.defects if known.defect(defect.type) is None)
            approved = dataclasses.replace(
                known, normal=known.normal + normal, defects=known.defects + defects, source=f"{known.source}; {source}"
            )
        _put(base, f"{approved.category}.yaml" if known is None else own_text(base, approved.category)[0],
             dump_category(approved), {str(draft.relative_to(base)): None})  # fmt: skip
    return approved


def add_normal(base: Path, category: str, text: str, source: str, name: str | None = None) -> CategoryKnowledge:
    """Add a description of a good part; a category that is not known begins with it."""
    with writing(base):
        knowledge = _find(base, category)
        if knowledge is not None:
            return _save(base, dataclasses.replace(knowledge, normal=(*knowledge.normal, text)))
        key = identifier(category)
        begun = CategoryKnowledge(key, name or category.replace("_", " "), source, (text,), ())
        return _put(base, f"{key}.yaml", dump_category(begun))


def add_defect(base: Path, category: str, defect: DefectKnowledge) -> CategoryKnowledge:
    """Add a type of defect to a category.

    Raises:
        InputError: the category is not known, or has the type already.
    """
    with writing(base):
        known = _find(base, category)
        if known is None:
            raise InputError(f"the category {category!r} is not known; say first what good parts look like: --normal")
        if known.defect(defect.type):
            raise InputError(f"{known.category} has the defect {defect.type!r} already; change it with knowledge edit")
        return _save(base, dataclasses.replace(known, defects=(*known.defects, defect)))


def set_field(base: Path, category: str, field: str, text: str) -> CategoryKnowledge:
    """Set `name`, `source`, or a defect's field such as `crack.look`.

    Raises:
        InputError: no such category, defect or field.
    """
    with writing(base):
        known = _find(base, category)
        if known is None:
            raise InputError(f"the category {category!r} has no file; see `reason-iad knowledge list`")
        return _save(base, _with_field(known, field, text))


def _with_field(known: CategoryKnowledge, field: str, text: str) -> CategoryKnowledge:
    defect_type, _, part = field.rpartition(".")
    if not defect_type:
        if field not in ("name", "source"):
            expected = "name, source or DEFECT.look, .cause, .consequence, .check"
            raise InputError(f"the field of {known.category} is {field!r}; expected {expected}")
        named = dataclasses.replace(known, name=text) if field == "name" else dataclasses.replace(known, source=text)
        return named
    allowed = field_names(DefectKnowledge)[1:]
    if known.defect(defect_type) is None or part not in allowed:
        types = ", ".join(defect.type for defect in known.defects)
        expected = f"one of {types}, a dot, and one of {', '.join(allowed)}"
        raise InputError(f"the field of {known.category} is {field!r}; expected {expected}")
    defects = tuple(dataclasses.replace(d, **{part: text}) if d.type == defect_type else d for d in known.defects)
    return dataclasses.replace(known, defects=defects)


def _find(base: Path, category: str) -> CategoryKnowledge | None:
    known = KnowledgeBase.load(base=base)
    return known.knowledge_of(category)


def _save(base: Path, knowledge: CategoryKnowledge) -> CategoryKnowledge:
    """Write a known category; call it, like `_put`, inside `writing`, or what another process adds is lost."""
    return _put(base, own_text(base, knowledge.category)[0], dump_category(knowledge))


def _put(base: Path, file: str, text: str, more: Mapping[str, str | None] | None = None) -> CategoryKnowledge:
    """Check and write a category's text with `more` files as one change, and take it back where the base breaks."""
    knowledge = parse_knowledge(text, file)
    before = {name: _text_of(base / name) for name in (file, *(more or {}))}
    apply_changes(base, {file: text, **(more or {})})
    try:
        read_base(base)
    except KnowledgeError:
        apply_changes(base, before)
        raise
    return knowledge


def _text_of(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _scalar(text: str, flow: bool = False) -> str:
    """A text as YAML, plain where it may be."""
    dumped = yaml.safe_dump([text] if flow else text, width=10**9, allow_unicode=True, default_flow_style=flow or None)
    dumped = dumped.strip().removesuffix("\n...").strip()
    return dumped[1:-1] if flow else dumped
