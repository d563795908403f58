"""Inside a model process: load once, do what comes, end when the other side says so or is gone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from reason_iad.errors import ReasonIADError

Tell = Callable[[Any], None]  # hands a message to whoever submitted the task
Handler = Callable[[Any, Tell], Any]  # does one task; an attribute `facts` of it is told when it is ready
Factory = Callable[[Tell], Handler]  # loads the model inside the process; must be picklable


class TaskFailedError(Exception):
    """A fault of the program during a task; its notes hold the traceback of the process."""


def serve(pipe: Connection, factory: Factory, threads: int | None) -> None:
    """Be the process: messages go out as (kind, content), tasks come in, None ends it.

    Args:
        pipe: to the pool.
        factory: loads the model and returns what does the tasks.
        threads: of the numerical libraries; None leaves theirs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the first process to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with_the_parent, daemon=True, name="watch-the-parent").start()
    if threads is not None:
        os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
        if "torch" in sys.modules:  # the main program imports it: it has read the variables already
            sys.modules["torch"].set_num_threads(threads)

    def tell(message: Any) -> None:
        pipe.send(("told", message))

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            handler = factory(tell)
        except Exception as error:  # noqa: BLE001 - whatever it is, the first process must tell it
            pipe.send(("unable", portable(error)))
            return
        facts: Mapping[str, str] = getattr(handler, "facts", {})
        pipe.send(("ready", facts))
        while (task := pipe.recv()) is not None:
            try:
                answer = pickle.dumps(("done", handler(task, tell)))
            except (BrokenPipeError, ConnectionResetError):
                return
            except Exception as error:  # noqa: BLE001 - one task must not end the process
                answer = pickle.dumps(("failed", portable(error)))
            pipe.send_bytes(answer)


def _leave_with_the_parent() -> None:
    """Wait for the end of the process that started this one, then end this one, also in the middle of a task."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def portable(error: Exception) -> ReasonIADError | TaskFailedError:
    """An error that another process can read: the project's own as they are, others as a fault with its traceback."""
    if isinstance(error, ReasonIADError):
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
            return error
        return ReasonIADError(str(error))
    if isinstance(error, MemoryError):
        fault = TaskFailedError("out of memory; use smaller images or fewer workers")
    else:
        fault = TaskFailedError(f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])
    fault.add_note("".join(traceback.format_exception(error)))
    return fault
