"""Names that people give, in any script, as identifiers that files, folders and keys can have."""

from __future__ import annotations

import re
import unicodedata

from reason_iad.files import sha256

LONGEST = 64  # characters of an identifier
# Latin letters that no accent makes: they are spelled, as a German or Dane without the key would.
_SPELLED = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})


def normalize_name(name: str) -> str:
    """Fold case, spaces, hyphens and underscores, so that names compare as people mean them.

    >>> normalize_name(" Light-Guide plate ")
    'light guide plate'
    """
    return " ".join(re.split(r"[\s_\-]+", unicodedata.normalize("NFC", name.strip()).casefold())).strip()


def identifier(name: str) -> str:
    """A name as an identifier: lower-case letters of any script, digits and underscores, beginning with a letter.

    Accents on Latin letters are dropped. A name without a letter or digit gets a mark of its own.

    >>> identifier("Pump housing 2.1"), identifier("Geh\u00e4use"), identifier("\u84cb")
    ('pump_housing_2_1', 'gehause', '\u84cb')
    """
    folded = unicodedata.normalize("NFKD", normalize_name(name).translate(_SPELLED))
    kept: list[str] = []
    latin = False
    for character in folded:
        if unicodedata.category(character).startswith("M"):
            kept.append("" if latin else character)  # vowel signs of other scripts are part of the word
            continue
        latin = character.isascii()
        kept.append(character if character.isalnum() else "_")
    plain = re.sub(r"_+", "_", unicodedata.normalize("NFC", "".join(kept)).lower()).strip("_")
    plain = plain.lstrip("_" + "".join(c for c in plain if unicodedata.category(c).startswith("M")))
    if not plain:
        return f"x_{sha256(normalize_name(name).encode('utf-8', 'replace'))[:6]}"
    plain = plain if plain[:1].isalpha() else f"x_{plain}"
    return plain[:LONGEST].strip("_")


def is_identifier(text: str) -> bool:
    """Whether a text is what `identifier` makes: at most 64 letters, digits, vowel signs and underscores.

    >>> is_identifier("metal_nut"), is_identifier("Metal nut"), is_identifier("\u84cb")
    (True, False, True)
    """
    if not 0 < len(text) <= LONGEST or not text[0].isalpha():
        return False
    if text != unicodedata.normalize("NFC", text) or text != text.lower():
        return False
    return all(c == "_" or c.isalnum() or unicodedata.category(c).startswith("M") for c in text)
