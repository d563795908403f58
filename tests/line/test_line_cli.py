"""`reason-iad line`: check says what is wrong, run triggers by HTTP and MQTT, alarms are seen and adopted."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from made_line import CATEGORY, Broker, film, photo
from ports import free_port
from until import until

from reason_iad.cli.app import main
from reason_iad.cli.line import open_record, run_line
from reason_iad.errors import InputError
from reason_iad.files import home
from reason_iad.images import encode_png
from reason_iad.line.message import LineMessage
from reason_iad.line.settings import LineSettings, read_line
from reason_iad.line.status import metrics_text
from reason_iad.store.lines import DriftAlarm, new_id
from reason_iad.types import InspectionRequest

COMPARING = "made_line:load_comparing"
WEIGHTS = home() / "weights"  # before a test has a home of its own


def write(folder: Path, source: str, trigger: str, rest: str = "") -> Path:
    file = folder / "line.toml"
    file.write_text(
        f'[line]\nname = "press"\ncategory = "{CATEGORY}"\n[source]\n{source}\n[trigger]\n{trigger}\n'
        f'[record]\nfolder = "{folder}/data"\n[[sink]]\nkind = "jsonl"\npath = "{folder}/parts.jsonl"\n{rest}',
        "utf-8",
    )
    return file


def test_a_check_of_a_good_line_says_so_and_changes_nothing(
    tmp_path: Path, profile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "film.mp4", [False])
    file = write(tmp_path, f'kind = "file"\npath = "{tmp_path}/film.mp4"\npace = "fast"', 'kind = "rest"')
    assert main(["line", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [row.split(":")[0].split()[-1] for row in said] == ["profile", "record", "source", "trigger", "jsonl"]
    assert "40 pictures of 160 x 96" in said[2]
    assert (tmp_path / "parts.jsonl").read_bytes() == b""


def test_a_check_tells_each_problem_in_one_line_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER", "hunter2")
    login = 'user = "a"\npassword = {env = "BROKER"}'
    broker = f'[[sink]]\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {free_port()}\n{login}\n'
    file = write(tmp_path, 'kind = "usb"\ndevice = "/dev/video99"', 'kind = "rest"', broker)
    assert main(["line", "check", str(file)]) == 2
    told = capsys.readouterr()
    rows = told.out.splitlines()
    assert [row.split()[0] for row in rows] == ["PROBLEM", "ok", "PROBLEM", "ok", "ok", "PROBLEM"]
    assert "there is no profile" in rows[0]
    assert "expected a camera" in rows[2]
    assert "cannot be reached" in rows[5]
    assert "hunter2" not in told.out + told.err


def test_a_line_that_cannot_run_says_why_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["line", "run", str(tmp_path / "none.toml")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def running(settings: LineSettings) -> tuple[threading.Thread, threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=run_line, args=(settings, stop, COMPARING))
    thread.start()
    return thread, stop


def parts(folder: Path) -> list[LineMessage]:
    file = folder / "parts.jsonl"
    rows = file.read_text("utf-8").splitlines() if file.exists() else []
    return [one for one in map(LineMessage.model_validate_json, rows) if one.part is not None]


def ask(url: str, token: str | None = None, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, body, {} if token is None else {"authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_part_is_called_by_http_and_state_and_metrics_are_told(tmp_path: Path, profile: Any) -> None:
    film(tmp_path / "film.mp4", [False] * 60)
    (tmp_path / "token").write_text("secret", "utf-8")
    port = free_port()
    http = f'[http]\nport = {port}\ntoken = {{file = "{tmp_path}/token"}}\n'
    source = f'kind = "file"\npath = "{tmp_path}/film.mp4"'
    thread, stop = running(read_line(write(tmp_path, source, 'kind = "http"', http)))
    url = f"http://127.0.0.1:{port}"
    until(lambda: "frames" in json.loads(state_of(url)) and json.loads(state_of(url))["frames"] > 0)
    assert ask(f"{url}/trigger", None, b"A-1")[0] == 401
    assert ask(f"{url}/trigger", "secret", b"A-1")[0] == 202
    assert ask(f"{url}/other", "secret")[0] == 404
    until(lambda: len(parts(tmp_path)) == 1)
    status, text = ask(f"{url}/metrics", "secret")
    stop.set()
    thread.join(60)
    assert status == 200
    assert 'reason_iad_line_camera_up{line="press"} 1.0' in text
    (one,) = parts(tmp_path)
    assert one.part is not None
    assert one.part.part == "A-1"


def state_of(url: str) -> str:
    try:
        return ask(f"{url}/status", "secret")[1]
    except OSError:
        return "{}"


def test_a_part_is_called_by_mqtt_and_an_old_call_is_not(tmp_path: Path, profile: Any, broker: Broker) -> None:
    from paho.mqtt.publish import single

    single("plc/part", "old", hostname="127.0.0.1", port=broker.port, retain=True)
    film(tmp_path / "film.mp4", [False] * 60)
    trigger = f'kind = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\ntopic = "plc/part"'
    thread, stop = running(read_line(write(tmp_path, f'kind = "file"\npath = "{tmp_path}/film.mp4"', trigger)))
    until(lambda: (tmp_path / "parts.jsonl").exists())  # it was told that the line is started
    time.sleep(1.0)
    single("plc/part", "B-2", hostname="127.0.0.1", port=broker.port, qos=1)
    until(lambda: len(parts(tmp_path)) == 1)
    stop.set()
    thread.join(60)
    (one,) = parts(tmp_path)
    assert one.part is not None
    assert one.part.part == "B-2"


def test_a_call_without_a_picture_is_told_as_not_inspected(tmp_path: Path, profile: Any) -> None:
    port = free_port()
    source = f'kind = "snapshot"\nurl = "http://127.0.0.1:{free_port()}/none"'
    http = f"[http]\nport = {port}\n"
    thread, stop = running(read_line(write(tmp_path, source, 'kind = "http"\nwait = 0.5', http)))
    until(lambda: ask_quietly(f"http://127.0.0.1:{port}/trigger", b"C-3") == 202)
    until(lambda: len(parts(tmp_path)) == 1)
    stop.set()
    thread.join(60)
    (one,) = parts(tmp_path)
    assert one.part is not None
    assert (one.part.part, one.part.verdict, one.part.error) == ("C-3", None, "no picture came in time")


def ask_quietly(url: str, body: bytes) -> int:
    try:
        return ask(url, None, body)[0]
    except OSError:
        return 0


def test_alarms_are_listed_and_acknowledged_with_a_name(
    tmp_path: Path, profile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "film.mp4", [False])
    file = write(tmp_path, f'kind = "file"\npath = "{tmp_path}/film.mp4"', 'kind = "rest"')
    store = open_record(read_line(file))
    facts = {"shifts": [{"quantity": "brightness", "shift": -4.2}], "proposed_from": [], "profile_version": 1}
    made = DriftAlarm(new_id(), "press", CATEGORY, "brightness", datetime.now(UTC), facts, None, None, None, None)
    store.lines.alarm(made, b"a", b"b")
    assert main(["line", "alarms", str(file)]) == 0
    assert "brightness: brightness -4.2 spreads  open" in capsys.readouterr().out
    assert main(["line", "alarms", str(file), "--acknowledge", made.id[:6]]) == 0
    assert "acknowledged by" in capsys.readouterr().out
    assert [entry.action for entry in store.audit_log()] == ["acknowledge drift"]
    store.close()
    assert main(["line", "alarms", str(file), "--acknowledge", "zz"]) == 2


def test_adopting_an_alarm_of_too_few_parts_is_refused(tmp_path: Path, profile: Any) -> None:
    from reason_iad.line.adopt import adopt

    film(tmp_path / "film.mp4", [False])
    settings = read_line(write(tmp_path, f'kind = "file"\npath = "{tmp_path}/film.mp4"', 'kind = "rest"'))
    store = open_record(settings)
    one = store.accept(InspectionRequest(encode_png(photo()), name="a.png"), "press", "line")
    facts = {"shifts": [], "proposed_from": [one], "profile_version": 1}
    made = DriftAlarm(new_id(), "press", CATEGORY, "score", datetime.now(UTC), facts, None, None, None, None)
    store.lines.alarm(made, None, None)
    with pytest.raises(InputError, match="names 1 parts"):
        adopt(store, settings, made.id[:8], "anna", lambda _: None)
    with pytest.raises(InputError, match="no alarms of 'press' begin"):
        adopt(store, settings, "zz", "anna", lambda _: None)
    store.close()


def test_metrics_of_a_line_that_has_no_camera_yet_can_be_read() -> None:
    state = {
        "parts": {"normal": 3}, "frames": 0, "frames_dropped": 0, "camera_losses": 1, "record_errors": 0,
        "camera": "lost", "waiting": 0, "delay_p95": None, "drift": None,
        "sinks": {"mqtt": {"up": False, "delivered": 0, "failures": 2}},
    }  # fmt: skip
    text = metrics_text("press", state)
    assert 'reason_iad_line_parts_total{line="press",verdict="normal"} 3.0' in text
    assert 'reason_iad_line_sink_up{line="press",sink="mqtt"} 0.0' in text


@pytest.mark.weights
def test_adopting_an_alarm_learns_the_next_version_without_what_people_called_missed(
    tmp_path: Path, profile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Learns with the bundled towers, as the program does."""
    from made_report import make_report

    from reason_iad.evidence.profile import load_profile

    if not WEIGHTS.is_dir():
        pytest.skip("the bundled weights are not here")
    (tmp_path / "home" / "weights").symlink_to(WEIGHTS)
    file = write(tmp_path, f'kind = "file"\npath = "{tmp_path}/film.mp4"', 'kind = "rest"')
    store = open_record(read_line(file))
    names = []
    for number in range(9):
        data = encode_png(photo(seed=number, light=0.9))
        names.append(store.accept(InspectionRequest(data, name=f"{number}.png"), "press", "line"))
        store.finish(names[-1], make_report(), {})
    store.add_feedback(names[0], "missed", "anna")
    facts = {"shifts": [], "proposed_from": names, "profile_version": profile.version}
    made = DriftAlarm(new_id(), "press", CATEGORY, "brightness", datetime.now(UTC), facts, None, None, None, None)
    store.lines.alarm(made, None, None)
    assert main(["line", "adopt", made.id[:8], str(file)]) == 0
    assert "version 2 of 'plate' was learned from 8 parts" in capsys.readouterr().out
    assert load_profile(CATEGORY).version == 2
    assert store.lines.alarms("press", open_only=True) == ()
    store.close()
