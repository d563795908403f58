"""Bring the catalogs up to date: find marked text, merge it into the .po files, compile them.

    python -m reason_iad.locale.catalogs    # after text was changed; then translate what is empty, and run it again

Needs Babel. Text is found in Python (`extract.py` says which), and in templates and the page's JavaScript (`_`,
`several`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.files import write_whole
from reason_iad.languages import CATALOGS, DOMAIN, LANGUAGES
from reason_iad.locale.extract import found_in_python

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

PACKAGE = Path(__file__).parent.parent
KEYWORDS = {"_": None, "several": (1, 2)}
METHODS = (("**.html", "jinja2"), ("**.js", "javascript"))


def translated() -> tuple[str, ...]:
    """Languages that have a catalog."""
    return tuple(code for code in LANGUAGES if code != "en")


def path_of(code: str) -> Path:
    """The .po file of a language."""
    return CATALOGS / code / "LC_MESSAGES" / f"{DOMAIN}.po"


def found_texts() -> Iterator[tuple[str, int, str | tuple[str, ...]]]:
    """Every text that people read: file, line, the text or its two forms by number."""
    for found in found_in_python():
        yield from ((found.path, found.line, text) for text in found.texts)
    from babel.messages.extract import extract_from_dir

    options = {"**.js": {"parse_template_string": "true"}, "**.html": {"silent": "false"}}
    for name, line, text, _comments, _context in extract_from_dir(
        PACKAGE, list(METHODS), options, KEYWORDS, directory_filter=lambda folder: "__pycache__" not in folder
    ):
        yield name, line, text


def template() -> Catalog:
    """A catalog of everything that is to be translated."""
    from babel.messages.catalog import Catalog

    catalog = Catalog(domain=DOMAIN, project="reason-iad", charset="utf-8")
    for name, _line, text in sorted(found_texts(), key=lambda one: (one[0], one[1])):
        catalog.add(text, locations=[(name, None)])
    return catalog


def read(code: str) -> Catalog:
    """The catalog of a language as it is."""
    from babel.messages.pofile import read_po

    path = path_of(code)
    with path.open("rb") as file:
        return read_po(file, locale=code, domain=DOMAIN)


def compiled(catalog: Catalog) -> bytes:
    """The catalog as gettext reads it."""
    from babel.messages.mofile import write_mo

    catalog.creation_date = datetime(2026, 1, 1, tzinfo=UTC)  # the same text gives the same file
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def update(code: str, wanted: Catalog) -> int:
    """Merge what is wanted into a language's files; returns how many texts have no translation."""
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import write_po

    path = path_of(code)
    path.parent.mkdir(parents=True, exist_ok=True)
    catalog = read(code) if path.is_file() else Catalog(locale=code, domain=DOMAIN, project="reason-iad")
    before = {shape(message.id): message for message in catalog if isinstance(message.id, str)}
    catalog.update(deepcopy(wanted), no_fuzzy_matching=True)  # a copy: what is new is taken over as the same object
    for message in catalog:
        if isinstance(message.id, str) and not message.string and (old := before.get(shape(message.id))):
            message.string = renamed(old, message.id)
    catalog.obsolete.clear()
    out = io.BytesIO()
    write_po(out, catalog, width=120, omit_header=False, include_lineno=False, sort_output=True)
    text = "\n".join(line for line in out.getvalue().decode().splitlines() if not line.startswith('"POT-Creation'))
    write_whole(path, text.rstrip() + "\n")
    write_whole(path.with_suffix(".mo"), compiled(catalog))
    return sum(1 for message in catalog if message.id and not all(strings(message)))


def shape(text: str) -> str:
    """A text without the names of its holes.

    >>> shape("{count} of {n}")
    '{} of {}'
    """
    return re.sub(r"\{\w+\}", "{}", text)


def renamed(old: Message, text: str) -> str:
    """The translation of a text whose holes have other names now, such as after a variable was renamed."""
    names = dict(zip(re.findall(r"\{(\w+)\}", str(old.id)), re.findall(r"\{(\w+)\}", text), strict=True))
    return re.sub(r"\{(\w+)\}", lambda hole: f"{{{names.get(hole[1], hole[1])}}}", str(old.string))


def strings(message: object) -> tuple[str, ...]:
    """The translations of a message, one for each form."""
    string = getattr(message, "string", "")
    return tuple(string) if isinstance(string, tuple | list) else (string,)


def main() -> None:
    """Update every language, and say what is missing."""
    wanted = template()
    for code in translated():
        missing = update(code, wanted)
        print(f"{code}: {len(wanted)} texts, {missing} without a translation")  # noqa: T201


if __name__ == "__main__":
    main()
