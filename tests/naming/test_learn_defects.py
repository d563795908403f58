"""`reason-iad learn CATEGORY --defects`: what it teaches, says and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from reason_iad.cli import learn
from reason_iad.cli.app import build_parser
from reason_iad.errors import InputError
from reason_iad.models.vision import BundledVision
from reason_iad.naming.store import load_examples


@pytest.fixture(scope="module")
def vision():
    return BundledVision.random(4)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    return tmp_path


def part(path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(90, 150, (48, 64, 3), dtype=np.uint8)
    pixels[10:20, 10 + seed : 30 + seed] = 10 * seed
    Image.fromarray(pixels).save(path)


def run(vision, *arguments: str) -> int:
    return learn.run(build_parser().parse_args(["learn", *arguments]), lambda: vision)


def test_types_are_learned_listed_moved_forgotten_and_taken_back(home, vision, capsys):
    for seed, kind in enumerate(("Kratzer", "Kratzer", "凹み")):
        part(home / "rejects" / kind / f"{seed}.png", seed)
    assert run(vision, "bracket", "--defects", str(home / "rejects")) == 0
    said = capsys.readouterr()
    assert "bracket: 3 named defects of 2 types, version 1" in said.out
    assert "no profile of good parts" in said.err
    assert run(vision, "bracket", "--examples", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["types"] == {"Kratzer": 2, "凹み": 1}
    first = listed["examples"][0]["id"]
    assert run(vision, "bracket", "--move", first, "--type", "Riss") == 0
    assert run(vision, "bracket", "--forget", first) == 0
    assert load_examples("bracket").counts == {"Kratzer": 1, "凹み": 1}
    assert run(vision, "bracket", "--undo") == 0
    assert load_examples("bracket").counts == {"Kratzer": 1, "Riss": 1, "凹み": 1}


def test_one_type_alone_is_learned_and_said(home, vision, capsys):
    part(home / "rejects" / "scratch" / "1.png", 1)
    assert run(vision, "bracket", "--defects", str(home / "rejects")) == 0
    assert "one type only: an area is this or none of these" in capsys.readouterr().out


def test_what_is_left_out_is_said_with_exit_code_2(home, vision, capsys):
    part(home / "rejects" / "scratch" / "1.png", 1)
    part(home / "rejects" / "dent" / "2.png", 2)
    (home / "rejects" / "dent" / "3.png").write_bytes(b"not an image")
    (home / "rejects" / "scratch" / "copy.png").write_bytes((home / "rejects" / "dent" / "2.png").read_bytes())
    assert run(vision, "bracket", "--defects", str(home / "rejects")) == 2
    told = capsys.readouterr().err
    assert "one area is called dent and scratch; expected one name: left out" in told
    assert "3.png" in told
    assert load_examples("bracket").counts == {"scratch": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--defects", "x", "--examples"),
        ("--move", "abc"),
        ("--type", "scratch"),
        ("--templates", "x"),
        ("--defects", "nowhere"),
        ("--forget", "abc"),
        ("--undo",),
    ],
)
def test_what_does_not_go_together_is_refused(home, vision, arguments):
    with pytest.raises(InputError, match=r"expected|no change to take back"):
        run(vision, "bracket", *arguments)
