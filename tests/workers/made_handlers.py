"""Handlers for the processes of a pool, importable there: echo, crash, refuse, hang, tell."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from reason_iad.errors import ImageError, ReasonIADError


class FussyError(ReasonIADError):
    """An error of the project that cannot be carried to another process."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Handler:
    facts: ClassVar[dict[str, str]] = {"name": "made", "version": "1"}

    def __call__(self, task: Any, tell: Any) -> Any:
        kind, content = task
        return getattr(self, kind)(content, tell)

    def echo(self, content: Any, tell: Any) -> Any:
        return content

    def pid(self, content: Any, tell: Any) -> int:
        time.sleep(content)
        return os.getpid()

    def threads(self, content: Any, tell: Any) -> tuple[int, str]:
        import torch

        return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]

    def count(self, content: int, tell: Any) -> str:
        for number in range(content):
            tell(number)
        return "counted"

    def crash(self, content: str, tell: Any) -> str:
        """Dies as a process out of memory does, as long as a file beside it has fewer letters than it may die."""
        path, times = content
        tell("begun")
        tried = len(Path(path).read_text()) if Path(path).exists() else 0
        if tried < times:
            Path(path).write_text("x" * (tried + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return f"survived after {tried}"

    def refuse(self, content: Any, tell: Any) -> None:
        raise ImageError("found a broken image; expected a whole one: export it again")

    def fussy(self, content: Any, tell: Any) -> None:
        raise FussyError("this", "that")

    def fault(self, content: Any, tell: Any) -> None:
        raise ZeroDivisionError("a planted fault")

    def unpicklable(self, content: Any, tell: Any) -> Any:
        return lambda: None

    def hang(self, content: Any, tell: Any) -> None:
        tell("hanging")
        time.sleep(3600)


def load(tell: Any) -> Handler:
    tell("loading model made")
    return Handler()


def load_unable(tell: Any) -> Handler:
    raise ReasonIADError("found no weights; expected some: fetch them")


def load_faulty(tell: Any) -> Handler:
    raise KeyError("a planted fault")


def load_dying(tell: Any) -> Handler:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> None:
    """A program with a pool that hangs, to be killed: prints the number of its process."""
    from reason_iad.workers import WorkerPool

    pool = WorkerPool(load)
    pool.start()
    pool.submit(("hang", None), lambda _: print(pool.pids[0], flush=True)).result()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
