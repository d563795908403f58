"""Model processes: each loads one model and does one task at a time; batches, benchmark and server use this manager.

pool         what a program asks
line         the tasks that wait and run
attendant    starts a process, brings it tasks, sees it die, starts another
process      what happens inside one
ray_pool     the same for actors on a Ray cluster (`RayPool`, imported from there)
"""

from reason_iad.workers.attendant import State
from reason_iad.workers.pool import MAX_ATTEMPTS, Event, WorkerPool
from reason_iad.workers.process import Factory, Handler, TaskFailedError, Tell

__all__ = [
    "MAX_ATTEMPTS", "Event", "Factory", "Handler", "State", "TaskFailedError", "Tell", "WorkerPool",
]  # fmt: skip
