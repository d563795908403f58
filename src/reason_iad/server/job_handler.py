"""What the server asks of its model process: inspect, answer, learn. It runs inside that process.

A task is (kind, payload); what it tells on the way is ("stage", name, nanoseconds since 1970) or ("text", piece).
"""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reason_iad.inspection.options import InspectorOptions
from reason_iad.types import InspectionRequest

Send = Callable[..., None]
MAX_SESSIONS = 8  # images whose prompt stays ready for questions


def load(factory: str, method: InspectorOptions, tell: Callable[[Any], None]) -> JobHandler:
    """Load the inspector that `factory` ("module:function") makes, and return what does the server's jobs with it."""
    module, _, function = factory.partition(":")
    return JobHandler(getattr(importlib.import_module(module), function)(method, tell))


def load_bundled(method: InspectorOptions, progress: Callable[[str], None]) -> Any:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.inspection.inspector import Inspector

    return Inspector.load(dataclasses.replace(method, reason=method.reason or "auto"), progress=progress)


@dataclass(frozen=True, eq=False)
class Task:
    """What the model process is asked to do about one inspection; the request's image is the file's bytes."""

    id: str
    request: InspectionRequest
    label: str | None = None  # of a feedback: normal, or defective


@dataclass(frozen=True, eq=False)
class Lesson:
    """Images of good parts that a category's profile is learned from."""

    category: str
    images: tuple[tuple[bytes, str], ...]  # file and name


class JobHandler:
    """What the model process can do, and the images it has before it."""

    def __init__(self, inspector: Any) -> None:
        self._inspector = inspector
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        infos = [one.model.info for one in getattr(inspector, "members", {"": inspector}).values()]  # of a panel all
        self.facts = {key: " + ".join(getattr(info, key) for info in infos) for key in ("name", "version")}

    def __call__(self, task: tuple[str, Any], tell: Callable[[Any], None]) -> dict[str, Any]:
        """Do one job."""
        kind, payload = task
        jobs: dict[str, Callable[[Any, Send], dict[str, Any]]] = {
            "inspect": self.inspect,
            "ask": self.ask,
            "feedback": self.feedback,
            "learn": self.learn,
        }
        return jobs[kind](payload, lambda *said: tell((*said, time.time_ns()) if said[0] == "stage" else said))

    def inspect(self, task: Task, send: Send) -> dict[str, Any]:
        """Inspect an image; gives the report as JSON and the files to keep, as (media type, bytes) by role."""
        found = self._inspector.run(task.request, on_stage=lambda name: send("stage", name))
        send("stage", "pictures")
        self._remember(task.id, found.session)
        from reason_iad.reporting.pictures import pictures

        return {"report": found.report.to_json(indent=None), "files": pictures(found)}

    def ask(self, task: Task, send: Send) -> dict[str, Any]:
        """Answer a question about an image that was inspected; its prompt is still there if that was not long ago."""
        request = task.request
        assert request.question is not None
        session = self._sessions.get(task.id)
        prepared = session is not None
        if session is None:
            send("stage", "prefix")
            session = self._inspector.open(dataclasses.replace(request, question=None, choices=()))
            self._remember(task.id, session)
        else:
            self._sessions.move_to_end(task.id)
        send("stage", "answer")
        if request.choices:
            answer = session.choose(request.question, request.choices).answer
        else:
            answer = session.dialog.tell(request.question, on_text=lambda piece: send("text", piece)).answer
        return {"answer": dataclasses.asdict(answer), "prepared": prepared}

    def feedback(self, task: Task, send: Send) -> dict[str, Any]:
        """Let the category's profile learn what a person said about an image."""
        from reason_iad.evidence.profile import load_profile
        from reason_iad.images import read_image

        send("stage", "profile")
        request = task.request
        assert isinstance(request.image, bytes)
        assert request.category is not None
        image = read_image(request.image, name=request.name)
        changed = load_profile(request.category).add_feedback(
            image,
            task.label,  # type: ignore[arg-type]
            self._inspector.vision,
            self._embed,
        )
        changed.save()
        self._sessions.pop(task.id, None)  # its evidence is out of date
        return {"version": changed.version, "normals": len(changed.normals), "defectives": len(changed.defectives)}

    def learn(self, lesson: Lesson, send: Send) -> dict[str, Any]:
        """Learn a category's profile from images of good parts."""
        from reason_iad.evidence.profile import CategoryProfile
        from reason_iad.images import read_image

        read = [read_image(data, name=name) for data, name in lesson.images]
        images = list({image.sha256: image for image in read}.values())  # what came twice counts once
        profile = CategoryProfile.learn(
            lesson.category,
            images,
            self._inspector.vision,
            embed=self._embed,
            progress=lambda done, total, name: send("stage", f"image {done + 1} of {total}"),
        )
        profile.save()
        return {"version": profile.version, "normals": len(profile.normals), "warnings": list(profile.warnings)}

    def _embed(self, pixels: Any) -> Any:
        """The vector by which images of a learned category are recognized."""
        from reason_iad.recognition.prototypes import image_embedding

        return image_embedding(pixels, self._inspector.vision)

    def _remember(self, identifier: str, session: Any) -> None:
        if session is None:
            return
        self._sessions[identifier] = session
        self._sessions.move_to_end(identifier)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
