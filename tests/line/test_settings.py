"""A line file is checked strictly, in one line, and no credential is ever in it or in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from reason_iad import languages
from reason_iad.cli.app import main
from reason_iad.errors import InputError
from reason_iad.languages import speaking
from reason_iad.line.fields import Secret
from reason_iad.line.settings import read_line

GOOD = """
[line]
name = "press-3"
category = "plate"
[source]
kind = "rtsp"
url = "rtsp://camera/live"
user = "viewer"
password = {env = "CAMERA"}
region = [10, 20, 300, 200]
rotate = 90
[trigger]
kind = "rest"
[inspect]
reason = "never"
[[sink]]
kind = "mqtt"
host = "broker"
[[sink]]
kind = "jsonl"
path = "parts-%Y-%m-%d.jsonl"
"""


def read(folder: Path, text: str):
    file = folder / "line.toml"
    file.write_text(text, "utf-8")
    return read_line(file)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)
    assert (settings.source.kind, settings.source.rotate) == ("rtsp", 90)
    assert [sink.name for sink in settings.sink] == ["mqtt", "jsonl"]
    assert settings.method.reason == "never"
    assert settings.drift.parts_per_false_alarm == 10_000


def test_the_model_is_asked_where_it_could_change_the_verdict_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD.replace('[inspect]\nreason = "never"\n', "")).method.reason == "auto"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('host = "broker"', 'hosst = "broker"', "sink.0.host: the field is missing"),
        ('host = "broker"', 'host = "broker"\nqos = 2', "sink.0.qos: the field is not known"),
        ("rotate = 90", "rotate = 45", "source.rotate: expected one of 0, 90, 180 or 270"),
        ("rotate = 90", "rotatte = 90", "source.rotatte: the field is not known"),
        ('kind = "rest"', 'kind = "guess"', "trigger: the kind is not known; expected one of 'each', "),
        ('kind = "rest"', 'kind = "rest"\nstill = 20', "still must be below moved"),
        ('kind = "rest"', 'kind = "http"', "needs \\[http\\]"),
        ('name = "press-3"', 'name = "a/b"', "line.name"),
        ('{env = "CAMERA"}', '"hunter2"', "not written into the file"),
        ("rtsp://camera/live", "rtsp://viewer:hunter2@camera/live", "holds no credentials"),
        ('reason = "never"', 'reasn = "never"', "inspect: found the settings \\['reasn'\\]"),
        ('kind = "jsonl"', 'kind = "jsonl"\nname = "mqtt"', "two sinks have one name"),
        ("[line]", "[line", "is no TOML"),
        ("region = [10, 20, 300, 200]", "region = [10, 20, 3, 200]", "source.region: expected x, y from 0 on"),
        ("region = [10, 20, 300, 200]", "region = [10, 20, 300]", "source.region.3: the field is missing"),
        ("region = [10, 20, 300, 200]", 'region = "all"', "source.region: expected a list"),
        ('host = "broker"', 'host = "broker"\nport = 70000', "sink.0.port: expected at most 65535"),
        ('host = "broker"', 'host = "broker"\nport = "x"', "sink.0.port: expected a whole number"),
        ('host = "broker"', 'host = "broker"\ntls = 5', "sink.0.tls: expected true or false"),
        ('host = "broker"', "host = 5", "sink.0.host: expected text"),
        ('host = "broker"', 'host = "broker"\ntimeout = 0', "sink.0.timeout: expected more than 0"),
        ('category = "plate"', 'category = ""', "line.category: expected a text that is not empty"),
        ('[line]\nname = "press-3"', '[line]\nname = "press 3"', "line.name: expected a text of the form"),
    ],
)
def test_what_is_not_understood_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, said: str
) -> None:
    assert before in GOOD
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, GOOD.replace(before, after, 1))
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert main(["line", "check", str(tmp_path / "line.toml")]) == 2
    told = capsys.readouterr()
    assert len(told.err.strip().splitlines()) == 1
    assert "hunter2" not in told.err + told.out
    for code in ("de", "zh", "ja"):
        with speaking(code):
            words = languages.told(str(caught.value).removeprefix(str(tmp_path))).lower().replace(";", " ").split()
        if "[line" not in after or "TOML" not in said:
            assert not {"the", "expected", "is", "must", "should", "cannot", "of", "field"} & set(words), words


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_line(tmp_path / "none.toml")


def test_an_address_that_others_reach_needs_a_credential(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs user and password"):
        read(tmp_path, GOOD + '[[sink]]\nkind = "opcua"\nhost = "0.0.0.0"\n')
    with pytest.raises(InputError, match="needs a token"):
        read(tmp_path, GOOD + '[http]\nhost = "0.0.0.0"\n')


def test_credentials_come_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hunter2\n", "utf-8")
    monkeypatch.setenv("CAMERA", "hunter3")
    assert Secret(file=tmp_path / "secret").read() == "hunter2"
    assert Secret(env="CAMERA").read() == "hunter3"
    assert "hunter" not in repr(Secret(file=tmp_path / "secret"))
    with pytest.raises(InputError, match="NOBODY holds no credential"):
        Secret(env="NOBODY").read()
    with pytest.raises(InputError, match="cannot be read"):
        Secret(file=tmp_path / "none").read()
