"""Keep the inspections of a batch or a hot folder in the record, as the server keeps its own."""

from __future__ import annotations

import dataclasses
import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.batch import Inspection, Job

if TYPE_CHECKING:
    from reason_iad.store.store import Store


@dataclass(frozen=True)
class Recorder:
    """Writes inspections into a record."""

    store: Store
    watching: bool
    who: str

    @classmethod
    def open(cls, folder: Path, watching: bool = False) -> Recorder:
        """Open the record under a folder, as `reason-iad serve --data` uses it.

        Raises:
            InputError: it cannot be used.
        """
        from reason_iad.store.store import Store

        url = f"sqlite:///{folder.absolute() / 'record.db'}"
        return cls(Store.open(url, folder / "evidence"), watching, user_name())

    def keep(self, job: Job, found: Inspection) -> None:
        """Keep one finished inspection with its pictures."""
        from reason_iad.images import encode_png
        from reason_iad.reporting.pictures import pictures

        try:
            data = job.path.read_bytes()
        except OSError:  # sorted away meanwhile: its pixels are still here
            data = encode_png(found.pixels)
        # the references of a batch are told by the report, and not kept with each of its images
        request = dataclasses.replace(job.request, image=data, name=job.name, references=())
        identifier = self.store.accept(request, self.who, "watch" if self.watching else "batch")
        self.store.start(identifier)
        self.store.finish(identifier, found.report, pictures(found))


def user_name() -> str:
    """Who runs the program."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "local"
