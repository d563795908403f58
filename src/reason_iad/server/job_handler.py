"""What the server asks of its model process: inspect, answer, learn. It runs inside that process.

A task is (kind, payload); what it tells on the way is ("stage", name) or ("text", piece).
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

Send = Callable[..., None]
MAX_SESSIONS = 8  # images whose prompt stays ready for questions


def load(factory: str, method: dict[str, Any], tell: Callable[[Any], None]) -> JobHandler:
    """Load the inspector that `factory` ("module:function") makes, and return what does the server's jobs with it."""
    module, _, function = factory.partition(":")
    return JobHandler(getattr(importlib.import_module(module), function)(method, tell))


def load_bundled(method: dict[str, Any], progress: Callable[[str], None]) -> Any:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.inspection.inspector import Inspector, InspectorOptions
    from reason_iad.models.loading import LoadOptions

    options = {name: value for name, value in method.items() if name != "loading"}
    loading = LoadOptions(**method.get("loading", {}))
    return Inspector.load(InspectorOptions(**options, loading=loading), progress=progress)


class JobHandler:
    """What the model process can do, and the images it has before it."""

    def __init__(self, inspector: Any) -> None:
        self._inspector = inspector
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        self.facts = {"name": inspector.model.info.name, "version": inspector.model.info.version}

    def __call__(self, task: tuple[str, dict[str, Any]], tell: Callable[[Any], None]) -> dict[str, Any]:
        """Do one job."""
        kind, payload = task
        jobs = {"inspect": self.inspect, "ask": self.ask, "feedback": self.feedback, "learn": self.learn}
        return jobs[kind](payload, lambda *message: tell(message))

    def inspect(self, payload: dict[str, Any], send: Send) -> dict[str, Any]:
        """Inspect an image; gives the report as JSON and the files to keep, as (media type, bytes) by role."""
        found = self._inspector.run(
            _image(payload),
            category=payload["category"],
            references=payload["references"],
            question=payload["question"],
            choices=payload["choices"],
            on_stage=lambda name: send("stage", name),
        )
        send("stage", "pictures")
        self._remember(payload["id"], found.session)
        from reason_iad.reporting.pictures import pictures

        return {"report": found.report.to_json(indent=None), "files": pictures(found)}

    def ask(self, payload: dict[str, Any], send: Send) -> dict[str, Any]:
        """Answer a question about an image that was inspected; its prompt is still there if that was not long ago."""
        session = self._sessions.get(payload["id"])
        prepared = session is not None
        if session is None:
            send("stage", "prefix")
            session = self._inspector.open(_image(payload), payload["category"], payload["references"])
            self._remember(payload["id"], session)
        else:
            self._sessions.move_to_end(payload["id"])
        send("stage", "answer")
        if payload["choices"]:
            answer = session.choose(payload["question"], payload["choices"]).answer
        else:
            answer = session.dialog.tell(payload["question"], on_text=lambda piece: send("text", piece))
        import dataclasses

        return {"answer": dataclasses.asdict(answer), "prepared": prepared}

    def feedback(self, payload: dict[str, Any], send: Send) -> dict[str, Any]:
        """Let the category's profile learn what a person said about an image."""
        from reason_iad.evidence.profile import load_profile

        send("stage", "profile")
        changed = load_profile(payload["category"]).add_feedback(
            _image(payload), payload["label"], self._inspector.vision, self._embed
        )
        changed.save()
        self._sessions.pop(payload["id"], None)  # its evidence is out of date
        return {"version": changed.version, "normals": len(changed.normals), "defectives": len(changed.defectives)}

    def learn(self, payload: dict[str, Any], send: Send) -> dict[str, Any]:
        """Learn a category's profile from images of good parts."""
        from reason_iad.evidence.profile import CategoryProfile
        from reason_iad.images import read_image

        images = [read_image(data, name=name) for data, name in payload["images"]]
        profile = CategoryProfile.learn(
            payload["category"],
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


def _image(payload: dict[str, Any]) -> Any:
    from reason_iad.images import read_image

    return read_image(payload["image"], name=payload["name"])
