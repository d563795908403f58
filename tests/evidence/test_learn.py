"""`reason-iad learn` over small made images and a cheap tower."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from color_tower import ColorTower, part
from PIL import Image

from reason_iad.cli import app, learn
from reason_iad.errors import EvidenceError, InputError
from reason_iad.evidence.profile import load_profile
from reason_iad.images import read_image
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.sources import EvidenceSources


@pytest.fixture
def good(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    folder = tmp_path / "good"
    folder.mkdir()
    for seed in range(10):
        part(seed).save(folder / f"{seed:02d}.png")
    return folder


def run(*arguments):
    args: argparse.Namespace = app.build_parser().parse_args(["learn", *map(str, arguments)])
    return learn.run(args, load_vision=ColorTower)


def test_a_folder_is_learned_and_one_page_says_what_it_is_worth(good, capsys):
    assert run("Plate", good, "--fast") == 0
    said = capsys.readouterr()
    assert "learning Plate from image 1 of 10: 00.png" in said.err  # and then a line a minute
    lines = said.out.splitlines()
    assert lines[0] == "Plate, version 1"
    assert "10 of good parts (10 compared with), 0 of defective ones" in lines[1]
    assert "cannot promise a false-alarm rate of 2.0%" in said.out
    assert "show at least 49 normal images" in said.out
    assert str(good.parent / "home" / "profiles" / "plate") in lines[-1]
    assert load_profile("plate").prototype is not None
    assert len(lines) <= 12


def test_every_message_about_one_category_names_it(good, capsys):
    (good / "notes.txt").write_text("x")
    assert run("plate", good, "--fast") == 0
    assert "reason-iad: plate: 10 images; left out: 1 .txt" in capsys.readouterr().err
    folder = good.parent / "home" / "profiles" / "plate"
    source, image = EvidenceSources(ColorTower()), read_image(good / "00.png")
    notes = source.choose(InspectorOptions(), image, (), ("plate",)).look(image).notes
    assert notes
    assert all(note.startswith("Learned category plate: ") for note in notes)
    damaged = (
        (next((folder / "versions").glob("*.bank")) / "bank.safetensors", "the profile of plate cannot be used: "),
        (next((folder / "members").glob("*.safetensors")), "copy the profile of plate again"),
        (folder / "versions" / "0001.json", "copy the profile of plate again"),
        (folder / "profile.json", "copy the profile of plate again"),
    )
    for path, words in damaged:
        kept = path.read_bytes()
        path.write_bytes(b"spoiled")
        with pytest.raises(EvidenceError, match=words):
            load_profile("plate")
        path.write_bytes(kept)


def test_a_defective_image_among_the_good_ones_is_named(good, capsys):
    part(50, (250, 20, 20)).save(good / "bad.png")
    assert run("plate", good, "--fast", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["odd"][0][0] == "bad.png"
    assert len(summary["odd"]) == 1
    run("plate")
    assert "bad.png" in capsys.readouterr().out


def test_the_next_verdict_reflects_what_a_person_said(good, tmp_path):
    run("plate", good, "--fast")
    part(60, (40, 60, 160)).save(tmp_path / "odd.png")
    pixels = np.asarray(part(61, (40, 60, 160)))
    tower = ColorTower()
    before = load_profile("plate").score(pixels, tower)
    assert run("plate", "--add", tmp_path / "odd.png", "--as", "normal") == 0
    after = load_profile("plate")
    assert after.version == 2
    assert after.score(pixels, tower) < 0.7 * before
    assert run("plate", "--add", tmp_path / "odd.png", "--as", "defective") == 0
    last = load_profile("plate")
    assert (len(last.normals), len(last.defectives)) == (10, 1)
    assert last.score(pixels, tower) >= before


def test_an_image_can_be_taken_back(good, capsys):
    run("plate", good, "--fast")
    removed = load_profile("plate").members[0].sha256
    assert run("plate", "--remove", removed[:12]) == 0
    assert "9 of good parts" in capsys.readouterr().out


def test_images_that_cannot_be_read_are_named_and_the_others_learned(good, capsys):
    (good / "broken.png").write_text("no image")
    assert run("plate", good, "--fast") == 2
    said = capsys.readouterr()
    assert "broken.png is not an image" in said.err
    assert "10 of good parts" in said.out


def test_images_of_many_kinds_are_learned(good, tmp_path):
    part(1).convert("L").save(good / "gray.png")
    part(2).convert("RGBA").save(good / "alpha.png")
    Image.fromarray(np.asarray(part(3).convert("L")).astype(np.uint16) * 257).save(good / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    part(4).rotate(90, expand=True).save(good / "turned.jpg", exif=exif)
    part(5).resize((16, 16)).save(good / "tiny.png")
    part(6).resize((2400, 1800)).save(good / "huge.png")
    assert run("plate", good, "--fast") == 0
    assert len(load_profile("plate").normals) == 16


def test_a_category_is_learned_in_tiles_and_without_its_background(good, capsys):
    assert run("plate", good, "--tiles", 2, "--foreground", "--json") == 0
    assert json.loads(capsys.readouterr().out)["streams"][0] == "efficientnet-16@448x2 euclidean"
    options = load_profile("plate").bank.options
    assert (options.tiles, options.foreground) == (2, True)
    with pytest.raises(SystemExit) as stopped:
        run("plate", good, "--tiles", 99)
    assert stopped.value.code == 2
    assert "from 1 to 16" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--add", "x.png"], "belong together"),
        (["--as", "normal"], "belong together"),
        (["{good}", "--remove", "ab"], "together; expected one"),
        (["nowhere"], "does not exist"),
        (["--add", "{good}/00.png", "--as", "normal"], "to correct"),
        ([], "reason-iad learn"),
        (["--remove", "ab"], "reason-iad learn"),
    ],
)
def test_what_cannot_be_done_is_explained_before_anything_heavy(good, arguments, message):
    def never():
        raise AssertionError("loaded")

    args = app.build_parser().parse_args(["learn", "plate", *(a.format(good=good) for a in arguments)])
    with pytest.raises((InputError, EvidenceError), match=message):
        learn.run(args, load_vision=never)


def test_a_name_that_is_no_folder_is_refused(good):
    with pytest.raises(EvidenceError, match="expected letters"):
        run("../plate", good)


def test_a_large_bank_says_what_it_costs_where_faiss_is_absent(good, capsys, monkeypatch):
    monkeypatch.setattr("reason_iad.evidence.patch_index.LARGE", 1000)
    monkeypatch.setattr("reason_iad.evidence.patch_index.importlib.util.find_spec", lambda name: None)
    assert run("Plate", good, "--fast") == 0
    assert "note: Plate: 10 references are searched exactly" in capsys.readouterr().err


def test_a_small_bank_says_nothing_of_faiss(good, capsys):
    assert run("Plate", good, "--fast") == 0
    assert "faiss" not in capsys.readouterr().err
