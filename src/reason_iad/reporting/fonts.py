"""Letters for pictures and PDF files: fonts of this machine, where the language needs more than ASCII.

No font ships with the program: one for Chinese and Japanese has 5 to 20 MB. Every desktop system has one; on a server
`apt-get install fonts-noto-cjk` brings it, and $REASON_IAD_FONT names any other.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.languages import language

if TYPE_CHECKING:
    from PIL import ImageFont

_FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
    "/System/Library/Fonts", "/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip
_LATIN = (("DejaVuSans.ttf", 0), ("LiberationSans-Regular.ttf", 0), ("NotoSans-Regular.ttf", 0), ("arial.ttf", 0),
          ("Arial.ttf", 0))  # fmt: skip
_NAMES: dict[str, tuple[tuple[str, int], ...]] = {  # file and number of the face in it, the best first
    "en": _LATIN,
    "de": _LATIN,
    "zh": (("NotoSansCJK-Regular.ttc", 2), ("NotoSansCJKsc-Regular.otf", 0), ("SourceHanSansSC-Regular.otf", 0),
           ("wqy-zenhei.ttc", 0), ("msyh.ttc", 0), ("PingFang.ttc", 0), ("STHeiti Light.ttc", 0)),
    "ja": (("NotoSansCJK-Regular.ttc", 0), ("NotoSansCJKjp-Regular.otf", 0), ("SourceHanSans-Regular.otf", 0),
           ("ipaexg.ttf", 0), ("YuGothR.ttc", 0), ("meiryo.ttc", 0), ("Hiragino Sans GB.ttc", 0)),
}  # fmt: skip


@dataclass(frozen=True)
class Font:
    """A font of this machine: its file, and the number of the face in a collection."""

    path: Path
    face: int = 0


@functools.cache
def font_of(code: str) -> Font | None:
    """The font for a language; None where this machine has none that is known."""
    if named := os.environ.get("REASON_IAD_FONT"):
        return Font(Path(named)) if Path(named).is_file() else None
    there: dict[str, Path] = {}
    for folder in map(Path, map(os.path.expanduser, _FOLDERS)):
        for path in folder.rglob("*") if folder.is_dir() else ():
            there.setdefault(path.name, path)
    for name, face in _NAMES[code]:
        if name in there:
            return Font(there[name], face)
    return _by_fontconfig(code)


def _by_fontconfig(code: str) -> Font | None:
    """What the system itself would take for the language, if it has numbers and Latin letters, too: some have none."""
    program = shutil.which("fc-match")
    if program is None or code in ("en", "de"):
        return None
    asked = [program, "-f", "%{file}\t%{index}\t%{lang}", f":lang={code}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    path, _tab, rest = done.stdout.partition("\t")
    index, _tab, spoken = rest.partition("\t")
    languages = spoken.split("|")
    fits = any(one.startswith(code) for one in languages) and "en" in languages
    return Font(Path(path), int(index) & 0xFFFF) if fits and Path(path).is_file() else None


def drawable() -> bool:
    """Whether pictures can be written in the language that is spoken."""
    return language() == "en" or font_of(language()) is not None


@functools.cache
def _letters(size: int, font: Font | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size) if font is None else ImageFont.truetype(str(font.path), size, font.face)


def letters(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Letters of a size in pixels for the language that is spoken: Pillow's own for English, else the machine's."""
    return _letters(size, None if language() == "en" else font_of(language()))


def drawn(text: str) -> str:
    """Text as `letters` can draw it: Pillow's own know ASCII alone."""
    if language() != "en" and drawable():
        return " ".join(text.split())
    for found, plain in (("–", "-"), ("—", "-"), ("×", "x"), ("·", "-"), ("’", "'"), ("ß", "ss"), ("…", "...")):
        text = text.replace(found, plain)
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in " ".join(bare.split()))
