"""One entry of a question file as it is read: what cannot be asked is listed with file, line and field."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from reason_iad.datasets.base import Fault
from reason_iad.datasets.located import LocatedJson, Member
from reason_iad.datasets.mmad_types import MmadQuestion, MmadSample

MOST_OPTIONS = 26
_SAME_TYPE = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}  # as MMAD's scorer counts
# the data sets that MMAD joins stand above the category; elsewhere the category stands first
DATA_SETS = ("DS-MVTec", "MVTec-AD", "MVTec-LOCO", "VisA", "GoodsAD")
_EXPECTED = {
    "Question": "text", "Options": "an object from letters to texts", "Answer": "the letter of one of the options",
    "type": "text",
}  # fmt: skip


class BadFieldError(ValueError):
    """A field of a question that cannot be used."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


class EntryReader:
    """Reads entries one after the other; `faults` lists what was wrong so far."""

    def __init__(self, root: Path, file: Path, located: LocatedJson) -> None:
        self.faults: list[Fault] = []
        self._root, self._file, self._located = root, file, located
        self._seen: Counter[str] = Counter()

    def read(self, member: Member) -> MmadSample | None:
        """The sample of an entry; None where nothing about it can be asked."""
        name, entry = member.name, member.value
        image = find_file(self._root, name)
        if image is None:
            self._fault(member, (), f"the image is missing; expected it at {self._root / name}; it is not asked about")
            return None
        if not isinstance(entry, dict):
            self._fault(member, (), f"the entry is {in_words(entry)}; expected an object with a conversation; left out")
            return None
        if not any(key.startswith("conversation") for key in entry):
            self._fault(member, (), "the entry has no conversation; expected Question, Options, Answer and type")
            return None
        for repeated in member.repeated:
            self._fault(member, (repeated,), f"{repeated!r} stands more than once in one object; the last is taken")
        questions = self._questions(member)
        if not questions:
            self._fault(member, (), "none of its questions can be asked; it is left out")
            return None
        self._seen[name] += 1
        if self._seen[name] > 1:
            self._fault(member, (), f"stands for the {self._seen[name]}. time; asked about and counted each time")
        dataset, category = _place(self._file.stem, name)
        return MmadSample(
            image,
            category,
            questions,
            self._templates(member, "random_templates"),
            self._templates(member, "similar_templates"),
            name,
            dataset,
            self._mask(member),
            self._seen[name],
        )

    def _questions(self, member: Member) -> tuple[MmadQuestion, ...]:
        found: list[MmadQuestion] = []
        number = 0
        for key, value in member.value.items():
            if not key.startswith("conversation"):
                continue
            listed = isinstance(value, list)
            for index, item in enumerate(value if listed else [value]):
                path: tuple[str | int, ...] = (key, index) if listed else (key,)
                try:
                    question = read_question(item, number)
                    found.append(question)
                except BadFieldError as error:
                    deeper = (*path, error.field) if error.field else path
                    self._fault(member, deeper, f"cannot be asked: {error}; it is left out", number)
                number += 1
        asked = Counter((one.question, one.options) for one in found)
        for (words, _), count in asked.items():
            if count > 1:
                self._fault(member, (), f"asks {words[:60]!r} {count} times; each time is counted")
        return tuple(found)

    def _templates(self, member: Member, field: str) -> tuple[Path, ...]:
        """References that are there. The one rule for those that are not: the next in the list take their place."""
        listed = member.value.get(field)
        if listed is None:
            return ()
        if isinstance(listed, str):
            self._fault(member, (field,), "is text; expected a list of paths; it is taken for a list of one")
            listed = [listed] if listed else []
        if not isinstance(listed, list):
            self._fault(
                member, (field,), f"is {in_words(listed)}; expected a list of paths; no reference of it is used"
            )
            return ()
        kept, missing = [], []
        for index, one in enumerate(listed):
            if not isinstance(one, str) or not one:
                self._fault(member, (field, index), f"is {in_words(one)}; expected a path; it is not used")
            elif (path := find_file(self._root, one)) is None:
                missing.append(one)
            else:
                kept.append(path)
        if missing:
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            verb = "are" if len(missing) > 1 else "is"
            left = "the others are used" if kept else "no other is listed, so it is asked without one"
            self._fault(member, (field,), f"its reference {missing[0]}{rest} {verb} missing; {left}")
        return tuple(kept)

    def _mask(self, member: Member) -> Path | None:
        named = member.value.get("mask_path")
        if named is None or named == "":
            return None
        if not isinstance(named, str):
            self._fault(member, ("mask_path",), f"is {in_words(named)}; expected a path or nothing; it is not used")
            return None
        found = find_file(self._root, named)
        if found is None:
            self._fault(member, ("mask_path",), f"its mask {named} is missing; places cannot be checked")
        return found

    def _fault(self, member: Member, path: tuple[str | int, ...], what: str, number: int | None = None) -> None:
        where = member.name if number is None else f"{member.name}, question {number + 1}"
        named = [step for step in path if isinstance(step, str) and not step.startswith("conversation")]
        line = self._located.line(member.start, *path)
        self.faults.append(Fault(where, what, self._file.name, line, named[-1] if named else ""))


def read_question(item: Any, number: int) -> MmadQuestion:
    """Read one question.

    Raises:
        BadFieldError: says in plain words what is wrong with which field.
    """
    if not isinstance(item, dict):
        raise BadFieldError("", f"it is {in_words(item)}; expected an object with {', '.join(_EXPECTED)}")
    for name, expected in _EXPECTED.items():
        if name not in item:
            raise BadFieldError(name, f"it is missing; expected {expected}")
    words, options, answer, kind = (item[name] for name in _EXPECTED)
    for name, value in (("Question", words), ("type", kind)):
        if not isinstance(value, str) or not value.strip():
            raise BadFieldError(name, f"it is {in_words(value)}; expected text")
    if not isinstance(options, dict):
        raise BadFieldError("Options", f"they are {in_words(options)}; expected {_EXPECTED['Options']}")
    for letter, text in options.items():
        if isinstance(text, bool) or not isinstance(text, (str, int, float)) or not str(text).strip():
            raise BadFieldError("Options", f"option {letter} is {in_words(text)}; expected text")
    texts = tuple(str(text).strip() for text in options.values())
    if not 2 <= len(texts) <= MOST_OPTIONS or len(set(texts)) < len(texts):
        raise BadFieldError(
            "Options", f"its options are {list(texts)[:MOST_OPTIONS]}; expected 2 to {MOST_OPTIONS} different ones"
        )
    if not isinstance(answer, str) or answer not in options:
        raise BadFieldError("Answer", f"its answer {answer!r} is not among the options {list(options)}")
    kind = kind.strip()
    return MmadQuestion(_SAME_TYPE.get(kind, kind), words, texts, list(options).index(answer), number)


def find_file(root: Path, name: str) -> Path | None:
    """A file below a folder that a question file names; backslashes are read as slashes. None where there is none."""
    for spelled in dict.fromkeys((name, name.replace("\\", "/"))):
        path = root / spelled
        try:
            inside = bool(spelled) and not Path(spelled).is_absolute() and ".." not in Path(spelled).parts
            if inside and path.is_file():
                return path
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None


def in_words(value: Any) -> str:
    """What a value is, in plain words."""
    if value is None:
        return "empty (null)"
    if isinstance(value, str):
        return "empty text" if not value.strip() else f"the text {value[:40]!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return f"a list of {len(value)}" if isinstance(value, list) else f"an object of {len(value)}"


def _place(stem: str, name: str) -> tuple[str, str]:
    """Data set and category that the path of an image names.

    >>> _place("mmad", "VisA/pcb1/test/bad/000.JPG"), _place("questions_test", "hazelnut/test/good/1.jpg")
    (('VisA', 'pcb1'), ('questions_test', 'hazelnut'))
    """
    parts = name.replace("\\", "/").removeprefix("./").split("/")
    if len(parts) > 2 and parts[0] in DATA_SETS:
        return parts[0], parts[1]
    return stem, parts[0]
