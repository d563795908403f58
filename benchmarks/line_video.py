"""A made film of parts on a belt through the whole line, with a real MQTT broker and a real OPC UA client.

The parts are rendered, so that which are defective and when each comes to rest is known. A profile is learned from a
film of good parts; then `reason-iad line run` reads the second film at its own pace, and this program is the plant: it
runs mosquitto, listens to it and to the OPC UA server, kills the broker in the middle and starts it again.

    python benchmarks/line_video.py --out /tmp/line --parts 300 --kill-at 120
    python benchmarks/line_video.py --out /tmp/line --parts 300 --prepare

It prints parts found, verdicts, the delay from rest to the message at each receiver, and whether every message came
once by its id. The profile is kept in `$REASON_IAD_HOME`, under the name of the category with "_film" behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.images import Pixels, encode_png, from_pixels
from reason_iad.line.message import LineMessage
from reason_iad.training.synth import Synthesizer

RATE, SETTLED = 25, 4  # pictures a second; pictures after rest at which a part is taken for learning
LINE = """
[line]
name = "film"
category = "{category}"
[source]
kind = "file"
path = "{film}"
[trigger]
kind = "rest"
[inspect]
reason = "{reason}"
streams = "{streams}"
[record]
folder = "{out}/data"
[[sink]]
kind = "mqtt"
host = "127.0.0.1"
port = {mqtt}
[[sink]]
kind = "opcua"
port = {opcua}
[[sink]]
kind = "jsonl"
path = "{out}/messages.jsonl"
"""


def main() -> None:
    """Render, learn, run, count."""
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    good, parts = args.out / "good.mp4", args.out / "parts.mp4"
    category = f"{args.category}_film"
    if not (args.out / "truth.json").exists():
        render(good, args, [False] * args.good, 10_000)
        rng = np.random.default_rng(args.seed)
        stained = [bool(one) for one in rng.random(args.parts) < args.defective]
        (args.out / "truth.json").write_text(json.dumps(render(parts, args, stained, 0)))
    if not (args.out / "learned").exists():
        learn(category, good, args)
        (args.out / "learned").touch()
    if args.prepare:
        return
    truth = json.loads((args.out / "truth.json").read_text())
    shutil.rmtree(args.out / "data", ignore_errors=True)
    for name in ("messages.jsonl", "mosquitto.db"):
        (args.out / name).unlink(missing_ok=True)
    report(truth, run(category, parts, args), args)


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=300)
    parser.add_argument("--good", type=int, default=40, help="good parts to learn from")
    parser.add_argument("--defective", type=float, default=0.1, help="share of the parts")
    parser.add_argument("--category", default="bottle_cap", help="what `training/synth.py` renders")
    parser.add_argument("--line", type=int, default=0, help="style of the rendered line")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--move", type=int, default=8, help="pictures that a part is on its way")
    parser.add_argument("--rest", type=int, default=15, help="pictures that it lies still")
    parser.add_argument("--reason", default="never")
    parser.add_argument("--streams", default="fast")
    parser.add_argument("--kill-at", type=int, default=0, help="parts after which the broker is killed; 0 is never")
    parser.add_argument("--down", type=float, default=8.0, help="seconds until it is started again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepare", action="store_true")
    return parser.parse_args()


def render(path: Path, args: argparse.Namespace, stained: list[bool], first: int) -> dict[str, Any]:
    """Write a film in which each part pushes the one before out of the picture; which are defective, when at rest."""
    import av

    line = Synthesizer(args.seed, args.size).make_line(args.line, args.category)
    rng = np.random.default_rng(first)
    noise = rng.normal(0, 2, (16, args.size, args.size, 3)).astype(np.float32)
    rests: list[float] = []
    before: Pixels = line.normal(first + len(stained))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264", rate=RATE, options={"crf": "16", "preset": "ultrafast", "g": "25"}
        )
        stream.width = stream.height = args.size
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, RATE)
        number = 0
        for index, bad in enumerate(stained):
            scene = line.defective(first + index).pixels if bad else line.normal(first + index)
            both = np.concatenate([scene, before], axis=1)
            steps = [round(args.size * (1 - (step + 1) / args.move)) for step in range(args.move)]
            rests.append((number + args.move - 1) / RATE)
            for at in [*steps, *[0] * args.rest]:
                picture = both[:, at : at + args.size] + noise[number % 16]
                frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), format="rgb24")
                frame.pts = number
                number += 1
                for packet in stream.encode(frame):
                    container.mux(packet)
            before = scene
        for packet in stream.encode():
            container.mux(packet)
    print(f"rendered {len(stained)} parts, {sum(stained)} defective, {number / RATE:.0f} s", flush=True)
    return {"defective": stained, "rests": rests}


def learn(category: str, film: Path, args: argparse.Namespace) -> None:
    """Learn a profile from the pictures of a film in which parts are at rest."""
    import av

    from reason_iad.evidence.features import FAST_STREAMS, EvidenceOptions
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.models.vision import BundledVision
    from reason_iad.models.vision_cache import CachedVision
    from reason_iad.recognition.prototypes import image_embedding

    every = args.move + args.rest
    wanted = {index * every + args.move - 1 + SETTLED for index in range(args.good)}
    with av.open(str(film)) as container:
        taken = [one.to_ndarray(format="rgb24") for n, one in enumerate(container.decode(video=0)) if n in wanted]
    vision = CachedVision(BundledVision.load())
    options = EvidenceOptions(streams=FAST_STREAMS) if args.streams == "fast" else EvidenceOptions()
    images = [from_pixels(pixels, f"good{number}.png") for number, pixels in enumerate(taken)]
    (args.out / "good.png").write_bytes(encode_png(np.concatenate(taken[:4], axis=1)))
    CategoryProfile.learn(category, images, vision, options, lambda pixels: image_embedding(pixels, vision)).save()
    print(f"learned {category} from {len(images)} parts", flush=True)


class Plant:
    """The broker, a controller that listens to it, and one that listens by OPC UA."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mqtt, self.opcua = folder, free_port(), free_port()
        self.heard: dict[str, list[tuple[float, LineMessage]]] = {"mqtt": [], "opcua": []}
        self.outage = (float("inf"), 0.0)
        self.done = threading.Event()
        self._broker: subprocess.Popen[bytes] | None = None
        (folder / "mosquitto.conf").write_text(
            f"listener {self.mqtt} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\nlog_type error\n"
            + ("user root\n" if os.geteuid() == 0 else "")
        )

    def start_broker(self) -> None:
        """Start it and wait until it listens."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._broker = subprocess.Popen([program, "-c", str(self.folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.mqtt), 1):
                return
            time.sleep(0.05)
        raise RuntimeError("mosquitto does not listen; on Debian: apt-get install mosquitto")

    def kill_broker(self) -> None:
        """End it as a power cut does."""
        assert self._broker is not None
        self._broker.kill()
        self._broker.wait()

    def listen(self) -> Any:
        """Be the controller that listens to the broker, with a session that the broker keeps."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, "controller", clean_session=False)
        client.on_message = lambda _c, _d, one: self._hear("mqtt", one.payload)
        client.on_connect = lambda c, *_: c.subscribe("reason-iad/v1/plant/DDATA/film/#", qos=1)
        client.reconnect_delay_set(1, 1)
        client.connect("127.0.0.1", self.mqtt)
        client.loop_start()
        return client

    def listen_opcua(self) -> threading.Thread:
        """Be the controller that subscribes to the node with the message."""
        thread = threading.Thread(target=lambda: asyncio.run(self._subscribe()), daemon=True)
        thread.start()
        return thread

    def datachange_notification(self, node: Any, value: str, data: Any) -> None:
        """What asyncua calls."""
        if value:
            self._hear("opcua", value)

    async def _subscribe(self) -> None:
        import asyncua

        address = f"opc.tcp://127.0.0.1:{self.opcua}/reason-iad/"
        connect: Any = vars(asyncua)["Client"]
        while not self.done.is_set():
            try:
                async with connect(address) as client:
                    space = await client.get_namespace_index("urn:reason-iad:line")
                    watching = await client.create_subscription(10, self)
                    await watching.subscribe_data_change(client.get_node(f"ns={space};s=film.Message"), queuesize=1000)
                    while not self.done.is_set():
                        await asyncio.sleep(0.2)
                    return
            except (OSError, TimeoutError):
                await asyncio.sleep(0.2)

    def _hear(self, receiver: str, payload: Any) -> None:
        self.heard[receiver].append((time.time(), LineMessage.model_validate_json(payload)))


def run(category: str, film: Path, args: argparse.Namespace) -> Plant:
    """Run the line to the end of the film."""
    plant = Plant(args.out)
    plant.start_broker()
    client = plant.listen()
    told = LINE.format(category=category, film=film, out=args.out, mqtt=plant.mqtt, opcua=plant.opcua,
                       reason=args.reason, streams=args.streams)  # fmt: skip
    (args.out / "line.toml").write_text(told)
    words = [sys.executable, "-m", "reason_iad.cli.app", "line", "run", str(args.out / "line.toml")]
    line = subprocess.Popen(words)
    listening = plant.listen_opcua()
    while line.poll() is None:
        time.sleep(0.05)
        parts = sum(one.kind == "part" for _, one in plant.heard["mqtt"])
        if args.kill_at and parts >= args.kill_at and plant.outage[1] == 0:
            plant.kill_broker()
            plant.outage = (time.time(), time.time() + args.down)
            threading.Timer(args.down, plant.start_broker).start()
    time.sleep(3)
    plant.done.set()
    listening.join(10)
    client.disconnect()
    client.loop_stop()
    plant.kill_broker()
    return plant


def report(truth: dict[str, Any], plant: Plant, args: argparse.Namespace) -> None:
    """Compare with what is known."""
    rows = [LineMessage.model_validate_json(row) for row in (args.out / "messages.jsonl").read_text().splitlines()]
    sent = [one for one in rows if one.kind == "part" and one.rest_at is not None]
    started = when(rows[0].at)  # the film begins right after it; which part is the first one found is told by that
    began = min((when(sent[0].rest_at) - rest for rest in truth["rests"][:4]), key=lambda one: abs(one - started))
    matched: dict[int, LineMessage] = {}
    extra = 0
    for one in sent:
        at = when(one.rest_at) - began
        index = int(np.argmin([abs(at - rest) for rest in truth["rests"]]))
        if index in matched or abs(at - truth["rests"][index]) > args.rest / RATE:
            extra += 1
        else:
            matched[index] = one
    off = [abs(when(one.rest_at) - began - truth["rests"][index]) for index, one in matched.items()]
    table = Counter(
        (truth["defective"][index], one.part.verdict) for index, one in matched.items() if one.part is not None
    )
    print(json.dumps({
        "parts": len(truth["rests"]), "found": len(matched), "more_than_once_or_none": extra,
        "rest_off_by_seconds_at_most": round(max(off), 3),
        "good": {str(verdict): count for (bad, verdict), count in table.items() if not bad},
        "defective": {str(verdict): count for (bad, verdict), count in table.items() if bad},
        "messages": len(rows), "drift_alarms": sum(one.kind == "drift" for one in rows),
        **{name: heard(name, rows, plant) for name in plant.heard},
    }, indent=2))  # fmt: skip


def heard(name: str, rows: list[LineMessage], plant: Plant) -> dict[str, Any]:
    """What one receiver got: each message by its id, its order, and the delay from rest where nothing was broken."""
    first: dict[str, tuple[float, LineMessage]] = {}
    for at, one in plant.heard[name]:
        first.setdefault(one.id, (at, one))
    order = [one.sequence for _, one in first.values()]
    usual = [
        at - when(one.rest_at)
        for at, one in first.values()
        if one.rest_at is not None and not (name == "mqtt" and plant.outage[0] - 1 < at < plant.outage[1] + 6)
    ]
    return {
        "messages_by_id": len(first), "missing": len({one.id for one in rows} - set(first)),
        "again": len(plant.heard[name]) - len(first), "in_order": order == sorted(order), "delays": len(usual),
        "delay_median_s": round(statistics.median(usual), 3), "delay_p95_s": round(float(np.quantile(usual, 0.95)), 3),
        "delay_max_s": round(max(usual), 3),
    }  # fmt: skip


def when(moment: datetime | None) -> float:
    """A moment in seconds."""
    assert moment is not None
    return moment.timestamp()


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
