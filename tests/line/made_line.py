"""A small plant: a film of parts on a belt, a profile of them, an inspector that compares, a broker."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ports import free_port

from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.profile import CategoryProfile, load_profile
from reason_iad.images import from_pixels, read_image

sys.path.insert(0, str(Path(__file__).parent.parent / "reporting"))

OPTIONS = EvidenceOptions(streams=(Stream("efficientnet", 16, 224, unlike=0.38),))
CATEGORY = "plate"
RATE = 25  # pictures a second
MOVE, REST = 8, 12  # pictures of a part on its way, and lying still


class ColorTower:
    """Patches are described by the mean and the spread of their colors."""

    def efficientnet(self, images, size):
        return {8: self._patches(images, size, 8), 16: self._patches(images, size, 16)}

    def _patches(self, images, size, stride):
        import torch

        from reason_iad.images import resize

        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // stride, stride, size // stride, stride, 3)
        return torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)), blocks.mean(dim=(2, 4)) ** 2 + 0.1], dim=-1)


def belt(width: int = 160) -> np.ndarray:
    return np.full((96, width, 3), (70, 76, 82), np.uint8)


def part(stained: bool = False) -> np.ndarray:
    """A plate on its piece of belt (96, 160, 3)."""
    scene = belt()
    scene[28:68, 40:120] = (190, 180, 160)
    scene[44:52, 60:100] = (120, 110, 100)
    if stained:
        scene[32:48, 86:112] = (240, 30, 30)
    return scene


def photo(stained: bool = False, seed: int = 0, light: float = 1.0) -> np.ndarray:
    """A part at rest as the camera sees it."""
    return exposed(part(stained), np.random.default_rng(seed), light)


def exposed(scene: np.ndarray, rng: np.random.Generator, light: float = 1.0) -> np.ndarray:
    own = light * (1 + rng.normal(0, 0.008))
    return np.clip(scene * own + rng.normal(0, 3, scene.shape), 0, 255).astype(np.uint8)


def film(path: Path, stained: list[bool], seed: int = 0) -> list[float]:
    """A film in which parts come, rest and go; gives the seconds at which each came to rest."""
    import av

    rng, rests = np.random.default_rng(seed), []
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.time_base = Fraction(1, RATE)
        number, before = 0, belt()
        for scene in (*(part(one) for one in stained), belt()):
            both = np.concatenate([scene, before], axis=1)
            offsets = [round(160 * (1 - (step + 1) / MOVE)) for step in range(MOVE)]
            rests.append((number + MOVE - 1) / RATE)
            for offset in [*offsets, *[0] * REST]:
                picture = av.VideoFrame.from_ndarray(exposed(both[:, offset : offset + 160], rng), format="rgb24")
                picture.pts = number
                number += 1
                for packet in stream.encode(picture):
                    container.mux(packet)
            before = scene
        for packet in stream.encode():
            container.mux(packet)
    return rests[:-1]


def at_rest(path: Path, rests: list[float]) -> list[np.ndarray]:
    """The pictures of a film three pictures after each part came to rest."""
    import av

    wanted = {round(second * RATE) + 3 for second in rests}
    with av.open(str(path)) as container:
        return [
            one.to_ndarray(format="rgb24") for number, one in enumerate(container.decode(video=0)) if number in wanted
        ]


def learn_profile(pictures: list[np.ndarray] | None = None) -> CategoryProfile:
    """A profile of good parts, photographs where None, kept where inspections find it."""
    pictures = pictures or [photo(seed=100 + seed) for seed in range(12)]
    images = [from_pixels(pixels, f"good{number}.png") for number, pixels in enumerate(pictures)]
    profile = CategoryProfile.learn(CATEGORY, images, ColorTower(), OPTIONS)
    profile.save()
    return profile


class Comparing:
    """Compares with the profile and writes a report; everything real but the towers and the words."""

    vision = None

    def __init__(self, seconds: float = 0.0) -> None:
        self._tower, self._seconds = ColorTower(), seconds

    def run(self, request: Any) -> Any:
        from made_report import make_report

        image = read_image(request.image, name=request.name)
        time.sleep(self._seconds)
        if "crash" in image.name:
            import os

            os._exit(9)
        profile = load_profile(request.category)
        found = profile.compare(image.pixels, self._tower)
        verdict = profile.verdict(found, 0.01).verdict
        report = make_report(
            image=image.name, image_hw=image.image_hw, image_sha256=image.sha256, verdict=verdict,
            probability={"normal": 0.03, "uncertain": 0.5, "defective": 0.97}[verdict], category=request.category,
            anomaly_score=found.anomaly_score, evidence=found.summary(image.image_hw, verdict), regions=(),
        )  # fmt: skip
        return SimpleNamespace(
            report=report, pixels=image.pixels, anomaly_map=found.anomaly_map, reference_pixels=(), session=None
        )


def load_comparing(method: Any, tell: Any) -> Comparing:
    return Comparing()


def load_slow(method: Any, tell: Any) -> Comparing:
    return Comparing(1.5)


@dataclass
class Broker:
    """A real mosquitto on a port of its own, which can be killed and started again."""

    folder: Path
    extra: str = "allow_anonymous true"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        file = self.folder / "mosquitto.conf"
        kept = f"persistence true\npersistence_location {self.folder}/\nautosave_on_changes true\nautosave_interval 1\n"
        user = "user root\n" if shutil.which("id") else ""
        file.write_text(f"listener {self.port} 127.0.0.1\n{kept}{user}{self.extra}\nlog_type error\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = subprocess.Popen([program, "-c", str(file)], stderr=subprocess.DEVNULL)
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError("mosquitto does not listen")

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def has_mosquitto() -> bool:
    return (shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")) is not None


@contextlib.contextmanager
def running_broker(folder: Path, extra: str = "allow_anonymous true") -> Iterator[Broker]:
    broker = Broker(folder, extra)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
