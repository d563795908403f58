"""What looks after one process of a pool: starts it, brings it tasks, sees it die, starts another."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal

from reason_iad.errors import ModelError
from reason_iad.workers.line import Line, Task
from reason_iad.workers.process import Factory, portable, serve

State = Literal["loading", "ready", "unable", "lost", "stopped"]
OnState = Callable[[int, State, Any], None]  # number of the process; text, facts when ready, the error where unable

MAX_FAILED_STARTS = 3  # in a row, before a pool that may give up does so
_STOP_SECONDS = 2.0  # for an idle process to end by itself


@dataclass(frozen=True)
class Care:
    """How the processes of a pool are looked after."""

    factory: Factory
    threads: int | None
    restart_seconds: Sequence[float]
    give_up: bool
    on_state: OnState


class Attendant(threading.Thread):
    """A thread with one process at a time, for as long as the line is open."""

    def __init__(self, number: int, line: Line, care: Care) -> None:
        """Attend process `number` of the pool."""
        super().__init__(name=f"attendant-{number}", daemon=True)
        self._number, self._line, self._care = number, line, care
        self.process: SpawnProcess | None = None
        self._failed_starts = 0

    def run(self) -> None:
        """One process after the other."""
        try:
            deaths = 0
            while self._line.open:
                deaths = 0 if self._attend() else deaths + 1
                if self._line.open:
                    self._say("lost", "")
                    waits = self._care.restart_seconds
                    self._line.pause(waits[min(max(deaths - 1, 0), len(waits) - 1)])
        except Exception as error:  # noqa: BLE001 - nobody may wait for a thread that ended
            fault = portable(error)
            self._line.close(fault)
            self._say("unable", fault)
        self._say("stopped", "")

    def kill(self) -> None:
        """End the process now, whatever it does."""
        if (process := self.process) is not None:
            process.kill()

    def _attend(self) -> int:
        """Start a process and bring it tasks until it dies or the line closes; returns how many it did."""
        self._say("loading", "starting the model process")
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        arguments = (theirs, self._care.factory, self._care.threads)
        process = context.Process(target=serve, args=arguments, name=f"reason-iad-worker-{self._number}", daemon=True)
        process.start()
        theirs.close()  # so that our end closes when the process dies
        self.process, done = process, 0
        try:
            self._load(pipe)
            while (task := self._line.take(process, self._number)) is not None:
                self._do(task, pipe)
                done += 1
        except (EOFError, OSError):  # it died
            pass
        finally:
            with contextlib.suppress(OSError, ValueError):
                pipe.send(None)
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()
            self.process = None
        return done

    def _load(self, pipe: Connection) -> None:
        """Wait until the model is there; raises EOFError where the process dies or cannot load it."""
        self._failed_starts += 1
        with contextlib.suppress(EOFError, OSError):
            while (message := pipe.recv())[0] == "told":
                self._say("loading", message[1])
            state, content = message
            self._say(state, content)
            if state == "ready":
                self._failed_starts = 0
                return
            if self._care.give_up:  # another process would be as unable
                self._line.close(content)
        if self._care.give_up and self._failed_starts >= MAX_FAILED_STARTS:
            self._line.close(
                ModelError(
                    f"the model process ended {self._failed_starts} times before it was ready; expected memory for a "
                    "model in each: use fewer"
                )
            )
        raise EOFError

    def _do(self, task: Task, pipe: Connection) -> None:
        """Have a task done; raises EOFError or OSError where the process died on it."""
        try:
            message = pickle.dumps(task.content)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about this task alone
            self._line.leave(task)
            task.fail(portable(error))
            return
        try:
            task.on_begin(self._number)
            pipe.send_bytes(message)
            while (answer := pipe.recv())[0] == "told":
                if task.listen is not None:
                    task.listen(answer[1])
        except (EOFError, OSError):
            self._line.lose(task)
            raise
        except Exception as error:  # the listener failed, or what came cannot be read here
            self._line.leave(task)
            task.fail(portable(error))
            raise EOFError from error
        self._line.leave(task)
        kind, content = answer
        if kind == "done":
            task.future.set_result(content)
        else:
            task.fail(content)

    def _say(self, state: State, content: Any) -> None:
        self._care.on_state(self._number, state, content)
