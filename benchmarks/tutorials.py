"""Run every command of a tutorial in an empty folder, and write what it printed below it: no output is made up.

    python benchmarks/tutorials.py docs/tutorials/quality_engineer.md
    python benchmarks/tutorials.py docs/tutorials/*.md --home HOME      # weights from there, profiles elsewhere

A block of the kind `console` holds commands after `$ ` and their output; a block of the kind `python` or `bash` that
begins with `# file: NAME` is written to that file first. All commands of a page run in one shell. Lines in which
progress is rewritten are left out; folders of this run are written as the reader will see them.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "---the end of a command---"


class Shell:
    """One bash for all commands of a page."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What a command printed to both streams."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho; echo '{END}'\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return "".join(lines).rstrip("\n")
            lines.append(line)
        raise SystemExit(f"the shell ended at: {command}")


def commands_of(block: str) -> list[str]:
    """Commands of a console block; a line that ends with a backslash goes on."""
    found: list[str] = []
    lines = iter(block.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            found.append(command)
    return found


def main() -> None:
    """Rewrite the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--home", type=Path, help="where the weights lie (default: they are fetched)")
    args = parser.parse_args()
    for page in args.pages:
        with tempfile.TemporaryDirectory(prefix="tutorial-") as name:
            rewrite(page, Path(name), args.home)


def rewrite(page: Path, folder: Path, home: Path | None) -> None:
    """Run one page in `folder`."""
    work, own = folder / "work", folder / "home"
    work.mkdir()
    own.mkdir()
    for kept in ("weights", "graphs"):
        if home is not None and (home / kept).is_dir():
            (own / kept).symlink_to((home / kept).absolute())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(work, {**os.environ, "PATH": path, "REASON_IAD_HOME": str(own), "COLUMNS": "100"})

    def fill(match: re.Match[str]) -> str:
        kind, content = match[1], match[2]
        if kind in ("python", "bash", "json") and (named := re.match(r"# file: (\S+)\n", content)):
            (work / named[1]).write_text(content[named.end() :], "utf-8")
        if kind != "console":
            return match[0]
        parts = []
        for command in commands_of(content):
            said = shell.run(command)
            said = said.replace(str(own), "~/.cache/reason-iad").replace(str(work), "~")
            said = "\n".join(line.rstrip() for line in said.splitlines() if not line.startswith("reason-iad: "))
            print(f"$ {command}\n{said}", flush=True)
            parts.append(f"$ {command}\n" + (f"{said.strip(chr(10))}\n" if said.strip() else ""))
        return f"```console\n{''.join(parts)}```"

    text = BLOCK.sub(fill, page.read_text("utf-8"))
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
