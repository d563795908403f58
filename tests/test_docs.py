"""The commands that README and docs show are commands of this version."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reason_iad.cli.app import build_parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Words of every `reason-iad` command in a block, without comments, pipes and what is left out by dots."""
    found = []
    for block in BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line.removeprefix("$ ").split("  #")[0]):
                if part.strip().startswith("reason-iad ") and "..." not in part and "[" not in part:
                    words = shlex.split(re.split(r"\s(?:2?>|&)", part)[0])[1:]
                    found.append(words)
    return found


def test_there_are_commands_to_check() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_is_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for words in commands(page):
        given = ["7" if word in ("N", "K", "M") else word for word in words]
        try:
            build_parser().parse_args(given)
        except SystemExit as ended:
            if ended.code:
                wrong.append(f"reason-iad {' '.join(words)}: {capsys.readouterr().err.strip().splitlines()[-1]}")
        except Exception as error:  # noqa: BLE001 - the parser's own kind of error
            wrong.append(f"reason-iad {' '.join(words)}: {error}")
    assert wrong == []
