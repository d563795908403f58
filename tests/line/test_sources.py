"""Pictures come from files, streams, cameras and folders; what is lost is tried again, and nothing is hidden."""

from __future__ import annotations

import base64
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_line import belt, film, photo
from ports import free_port
from until import until

from reason_iad.errors import InputError
from reason_iad.images import encode_jpeg, encode_png
from reason_iad.line.capture import Capture, Slot
from reason_iad.line.clock import Clock
from reason_iad.line.fields import Secret
from reason_iad.line.frames import Frame, SourceLostError, View
from reason_iad.line.genicam import to_rgb
from reason_iad.line.settings_sources import (
    FileSource,
    FolderSource,
    GenicamSource,
    SnapshotSource,
    StreamSource,
    UsbSource,
)
from reason_iad.line.sources import make_source

RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_address("127.0.0.1"); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=smpte "
                   "! video/x-raw,format=I420,width=320,height=240,framerate=25/1 "
                   "! jpegenc ! rtpjpegpay name=pay0 pt=96 )")
if len(sys.argv) > 2:
    auth = GstRtspServer.RTSPAuth(); token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("viewer", sys.argv[2]), token)
    server.set_auth(auth)
    factory.add_role_from_structure(Gst.Structure.from_string(
        "user,media.factory.access=(boolean)true,media.factory.construct=(boolean)true")[0])
server.get_mount_points().add_factory("/live", factory)
server.attach(None); print("ready", flush=True); GLib.MainLoop().run()
"""


def test_a_film_is_read_to_its_end_as_fast_as_it_can_be(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", [False])
    source = make_source(FileSource(kind="file", path=tmp_path / "film.mp4", pace="fast"), Clock())
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert len(frames) == 40
    assert frames[0].pixels.shape == (96, 160, 3)
    assert frames[-1].seconds == pytest.approx(39 / 25)
    assert abs(frames[10].pixels.astype(int) - photo()).mean() < 12


def test_a_film_at_its_own_pace_drops_what_nobody_takes_and_counts_it(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", [False])
    source = make_source(FileSource(kind="file", path=tmp_path / "film.mp4"), Clock())
    capture = Capture(source, View(), Clock(), lambda *_: None)
    began = time.monotonic()
    capture.start()
    capture.join(60)
    assert time.monotonic() - began >= 39 / 25
    assert (capture.frames, capture.slot.dropped) == (40, 39)
    assert capture.slot.take(0) is not None


def test_a_source_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(b"no film at all" * 100)
    with pytest.raises(InputError, match="does not exist"):
        make_source(FileSource(kind="file", path=tmp_path / "none.mp4"), Clock()).open()
    with pytest.raises(SourceLostError, match="cannot be read"):
        make_source(FileSource(kind="file", path=tmp_path / "noise.mp4"), Clock()).open()
    with pytest.raises(SourceLostError, match="is not there; expected a camera"):
        make_source(UsbSource(kind="usb", device="/dev/video99"), Clock()).open()
    with pytest.raises(InputError, match=r"harvesters is not installed|\.cti"):
        make_source(GenicamSource(kind="genicam", producer=tmp_path / "none.cti"), Clock()).open()


@pytest.fixture
def rtsp(tmp_path: Path) -> Iterator[Any]:
    """Starts real RTSP servers of GStreamer."""
    started: list[subprocess.Popen[str]] = []
    python = shutil.which("python3", path="/usr/bin")

    def start(port: int, password: str = "") -> subprocess.Popen[str]:
        words = [python, "-c", RTSP_SERVER, str(port), *([password] if password else [])]
        server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(server)
        assert server.stdout is not None
        if server.stdout.readline().strip() != "ready":
            pytest.skip("no RTSP server; on Debian: gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good")
        return server

    if python is None:
        pytest.skip("no Python of the system, whose GStreamer serves RTSP")
    yield start
    for server in started:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def test_an_rtsp_camera_is_read_lost_and_found_again(rtsp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reason_iad.line.capture.WAITS", (0.3,))
    port = free_port()
    server = rtsp(port)
    source = make_source(StreamSource(kind="rtsp", url=f"rtsp://127.0.0.1:{port}/live", timeout=2.0), Clock())
    told: list[str] = []
    capture = Capture(source, View(), Clock(), lambda event, detail: told.append(event))
    capture.start()
    frame = take(capture)
    assert frame.pixels.shape == (240, 320, 3)
    assert frame.pixels[20, 20].min() > 150  # the light bar of the test picture
    server.kill()
    until(lambda: told == ["camera_lost"])
    rtsp(port)
    until(lambda: told == ["camera_lost", "camera_back"])
    assert take(capture).pixels.shape == (240, 320, 3)
    assert capture.losses == 1
    capture.stop()
    capture.join(10)


def test_an_rtsp_camera_with_a_password_is_read_and_the_password_never_told(
    rtsp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    rtsp(port, "right/pass")
    monkeypatch.setenv("CAMERA", "right/pass")
    settings = StreamSource(
        kind="rtsp", url=f"rtsp://127.0.0.1:{port}/live", user="viewer", password=Secret(env="CAMERA"), timeout=5.0
    )
    source = make_source(settings, Clock())
    source.open()
    assert source.read() is not None
    source.close()
    monkeypatch.setenv("CAMERA", "hunter2")
    with pytest.raises(SourceLostError, match="refuses the user or the password") as caught:
        source.open()
    assert "hunter2" not in str(caught.value)


class Camera(BaseHTTPRequestHandler):
    """Gives snapshots, and a stream of JPEG pictures."""

    status = 200
    login = "Basic " + base64.b64encode(b"viewer:right").decode()

    def do_GET(self) -> None:
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("content-type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for number in range(20):
                data = encode_jpeg(photo(seed=number))
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
            return
        status = self.status if self.headers.get("authorization") == self.login else 401
        self.send_response(status)
        self.end_headers()
        if status == 200:
            self.wfile.write(encode_png(photo()))

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def camera() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_stream_over_http_is_read(camera: str) -> None:
    source = make_source(StreamSource(kind="stream", url=f"{camera}/stream", timeout=5.0), Clock())
    source.open()
    frame = source.read()
    source.close()
    assert frame is not None
    assert frame.pixels.shape == (96, 160, 3)


def test_snapshots_come_with_their_bytes_and_errors_without_the_password(
    camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA", "right")
    settings = SnapshotSource(kind="snapshot", url=f"{camera}/now", user="viewer", password=Secret(env="CAMERA"))
    source = make_source(settings, Clock())
    source.open()
    frame = source.read()
    assert frame is not None
    assert frame.data == encode_png(photo())
    monkeypatch.setattr(Camera, "status", 503)
    with pytest.raises(SourceLostError, match="answers 503"):
        source.read()
    source.close()
    monkeypatch.setenv("CAMERA", "hunter2")
    source.open()
    with pytest.raises(SourceLostError, match="refuses the user or the password") as caught:
        source.read()
    assert "hunter2" not in str(caught.value)
    source.close()


def test_a_folder_that_goes_and_comes_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reason_iad.line.capture.WAITS", (0.1,))
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_png(photo()))
    told: list[str] = []
    source = make_source(FolderSource(kind="folder", path=folder, settle=0), Clock())
    capture = Capture(source, View(), Clock(), lambda event, _: told.append(event))
    capture.start()
    assert take(capture).name == "a.png"
    folder.rename(tmp_path / "away")
    until(lambda: told == ["camera_lost"])
    (tmp_path / "away" / "b.png").write_bytes(encode_png(photo(seed=1)))
    (tmp_path / "away").rename(folder)
    frame = take(capture)
    assert (frame.name, frame.data) == ("b.png", encode_png(photo(seed=1)))
    assert told == ["camera_lost", "camera_back"]
    capture.stop()
    capture.join(10)


class Failing:
    """A source that is lost twice; implements `Source`."""

    live = False

    def __init__(self) -> None:
        self.opened = 0

    def open(self) -> None:
        self.opened += 1
        if self.opened in (2, 3):
            raise SourceLostError("unplugged")

    def read(self) -> Frame | None:
        if self.opened == 1:
            self.opened += 0
            self.first = getattr(self, "first", 0) + 1
            if self.first > 1:
                raise SourceLostError("unplugged")
        elif self.first > 3:
            return None
        self.first += 1
        return Frame(belt(), datetime.now(UTC), time.monotonic())

    def close(self) -> None:
        pass


def test_a_loss_is_told_once_and_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reason_iad.line.capture.WAITS", (0.01,))
    told: list[tuple[str, str]] = []
    capture = Capture(Failing(), View(), Clock(), lambda event, detail: told.append((event, detail)))
    capture.start()
    while not capture.ended.is_set():
        capture.slot.take(0.1)
    assert told == [("camera_lost", "unplugged"), ("camera_back", "after 3 attempts")]
    capture.raise_error()


def test_a_region_outside_the_picture_ends_the_line_with_the_reason(tmp_path: Path) -> None:
    film(tmp_path / "film.mp4", [False])
    source = make_source(FileSource(kind="file", path=tmp_path / "film.mp4", pace="fast"), Clock())
    capture = Capture(source, View((0, 0, 500, 500)), Clock(), lambda *_: None)
    capture.start()
    capture.join(20)
    with pytest.raises(InputError, match="inside the picture"):
        capture.raise_error()


def test_the_slot_of_a_source_that_waits_loses_nothing() -> None:
    slot, got = Slot(), []
    frames = [Frame(belt(), datetime.now(UTC) + timedelta(seconds=n), float(n)) for n in range(50)]
    writing = threading.Thread(target=lambda: [slot.put(frame, live=False) for frame in frames])
    writing.start()
    while len(got) < 50 and (frame := slot.take(5)) is not None:
        got.append(frame.seconds)
    writing.join(5)
    assert got == [float(n) for n in range(50)]
    assert slot.dropped == 0


def test_values_of_an_industrial_camera_become_pixels() -> None:
    gray = np.arange(12, dtype=np.uint8)
    assert to_rgb(gray, 3, 4, "Mono8")[2, 3].tolist() == [11, 11, 11]
    assert to_rgb(np.arange(36, dtype=np.uint8), 3, 4, "BGR8")[0, 0].tolist() == [2, 1, 0]
    with pytest.raises(InputError, match="set its PixelFormat"):
        to_rgb(gray, 3, 4, "BayerRG8")


def take(capture: Capture, seconds: float = 30.0) -> Frame:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        frame = capture.slot.take(0.2)
        if frame is not None:
            return frame
        capture.raise_error()
    raise AssertionError("no picture came")
