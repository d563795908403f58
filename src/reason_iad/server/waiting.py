"""Which job is next: what a person waits for before a lot, and client by client in turn.

A question has its person at the screen, so it comes first; then inspections sent by people; then those sent as a lot.
So that a lot is never starved, it gets every fifth turn. Within a kind the clients take turns, each in its own order:
whoever sends a thousand images delays others by one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, Literal, Protocol, TypeVar

Priority = Literal["question", "person", "lot"]
ORDER: tuple[Priority, ...] = ("question", "person", "lot")
LOT_TURN = 5  # at the latest every so many jobs one of a lot is begun


class Waits(Protocol):
    """A job, as far as its turn depends on it."""

    @property
    def priority(self) -> Priority:
        """What kind of turn it takes."""
        ...

    @property
    def client(self) -> str:
        """Who sent it."""
        ...


J = TypeVar("J", bound=Waits)


class Waiting(Generic[J]):
    """Jobs that wait for a free model process."""

    def __init__(self) -> None:
        """Begin empty."""
        self._clients: dict[Priority, OrderedDict[str, deque[J]]] = {name: OrderedDict() for name in ORDER}
        self._since_lot = 0

    def __len__(self) -> int:
        """How many wait."""
        return sum(len(line) for clients in self._clients.values() for line in clients.values())

    def add(self, job: J) -> None:
        """Put a job behind those of its client."""
        self._clients[job.priority].setdefault(job.client, deque()).append(job)

    def remove(self, job: J) -> bool:
        """Take back a job; whether it waited."""
        line = self._clients[job.priority].get(job.client)
        if line is None or job not in line:
            return False
        line.remove(job)
        self._tidy(job)
        return True

    def take(self, may: Callable[[J], bool] = lambda job: True) -> J | None:
        """The job whose turn it is, of those that may begin; its client goes to the end of its kind."""
        job = next((one for one in self._turns() if may(one)), None)
        if job is not None:
            self._clients[job.priority][job.client].remove(job)
            self._clients[job.priority].move_to_end(job.client)
            self._tidy(job)
            self._since_lot = 0 if job.priority == "lot" else self._since_lot + 1
        return job

    def __iter__(self) -> Iterator[J]:
        """All that wait, in the order in which they would begin if nobody came."""
        copy: Waiting[J] = Waiting()
        copy._since_lot = self._since_lot
        copy._clients = {
            name: OrderedDict((client, deque(line)) for client, line in clients.items())
            for name, clients in self._clients.items()
        }
        while (job := copy.take()) is not None:
            yield job

    def _turns(self) -> Iterator[J]:
        """The first job of every client, whose turn it is first."""
        order = ORDER if self._since_lot < LOT_TURN - 1 else (ORDER[2], *ORDER[:2])
        for name in order:
            for line in self._clients[name].values():
                yield line[0]

    def _tidy(self, job: J) -> None:
        if not self._clients[job.priority][job.client]:
            del self._clients[job.priority][job.client]
