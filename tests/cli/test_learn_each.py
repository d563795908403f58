"""Many products learned by one command: in processes, and on Ray with a machine lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from color_tower import NODES, ColorTower, load_color_tower, load_no_tower, load_where_tower, part
from losing_nodes import losing_a_node

from reason_iad.cli import learn, learn_each
from reason_iad.cli.app import build_parser
from reason_iad.errors import InputError
from reason_iad.evidence.profile_store import list_profiles, read_facts
from reason_iad.images import find_images, read_image
from reason_iad.profiles import load_profile


@pytest.fixture
def products(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    root = tmp_path / "products"
    for number, layout in enumerate(("train/good", "good", ".", "good")):
        folder = root / f"plate {number}" / layout
        folder.mkdir(parents=True)
        for seed in range(4):
            part(10 * number + seed).save(folder / f"{seed:02d}.png")
    (root / "plate 1" / "scratch").mkdir()  # beside good/: not learned from
    part(99, (20, 20, 20)).save(root / "plate 1" / "scratch" / "00.png")
    return root


def run(*given: object, load=load_color_tower) -> int:
    args = build_parser().parse_args(["learn", "--fast", *map(str, given)])
    return learn_each.run(args, load)


def facts_of_all() -> dict[str, dict]:
    return {name: read_facts(name) for name in list_profiles()}


def learned_one_by_one(products: Path, home: Path, monkeypatch) -> dict[str, dict]:
    monkeypatch.setenv("REASON_IAD_HOME", str(home))
    for folder in sorted(products.iterdir()):
        good = next(one for one in (folder / "train" / "good", folder / "good", folder) if one.is_dir())
        args = build_parser().parse_args(["learn", folder.name, str(good), "--fast"])
        assert learn.run(args, ColorTower) == 0
    return facts_of_all()


def test_every_product_of_a_folder_is_learned_as_one_by_one(products, tmp_path, monkeypatch, capsys):
    assert run("--each", products, "--jobs", 2) == 0
    assert "learned 4 of 4 products" in capsys.readouterr().out
    together = facts_of_all()
    assert set(together) == {f"plate_{n}" for n in range(4)}
    assert together["plate_1"]["num_normals"] == 4
    one = read_image(find_images(products / "plate 3" / "good")[0]).pixels
    score = load_profile("plate 3").score(one, ColorTower())
    assert learned_one_by_one(products, tmp_path / "other", monkeypatch) == together
    assert load_profile("plate 3").score(one, ColorTower()) == score


def test_a_product_that_cannot_be_learned_is_named_and_costs_no_other(products, capsys):
    (products / "plate 0" / "train" / "good" / "00.png").write_bytes(b"no image")
    for one in (products / "plate 3" / "good").iterdir():
        one.write_bytes(b"no image")
    (products / "mixed" / "scratch").mkdir(parents=True)
    (products / "empty").mkdir()
    (products / "---").mkdir()
    assert run("--each", products, "--json") == 2
    said = capsys.readouterr()
    assert [one["category"] for one in json.loads(said.out)] == ["plate 0", "plate 1", "plate 2"]
    for words in (
        "00.png", "plate 3: ", "mixed holds the folders scratch; expected images of good parts alone",
        "empty holds no image", "'---'",
    ):  # fmt: skip
        assert words in said.err
    assert read_facts("plate 0")["num_normals"] == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("plate", "--each", "ROOT"), "found --each and CATEGORY"),
        (("--each", "ROOT", "--jobs", "0"), "found --jobs 0"),
        (("--each", "ROOT/nowhere"), "is no folder"),
        (("--each", "ROOT/plate 2/.."), None),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(products, given, words):
    given = [one.replace("ROOT", str(products)) for one in given]
    if words is None:
        assert run(*given) == 0
        return
    with pytest.raises(InputError, match=words):
        run(*given)


def test_without_a_category_or_a_folder_nothing_is_learned():
    parser = build_parser()
    with pytest.raises(InputError, match="found no CATEGORY"):
        learn.run(parser.parse_args(["learn"]), ColorTower)
    with pytest.raises(InputError, match="without --each"):
        learn.run(parser.parse_args(["learn", "plate", "good", "--jobs", "2"]), ColorTower)


def test_towers_that_cannot_be_loaded_end_the_run_with_their_reason(products):
    with pytest.raises(InputError, match="found no towers"):
        run("--each", products, "--jobs", 2, load=load_no_tower)


@pytest.fixture
def on_ray(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is an extra")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # a full machine is another test's matter
    monkeypatch.setenv(NODES, str(tmp_path / "nodes"))
    (tmp_path / "nodes").mkdir()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_products_are_learned_on_two_machines_though_one_is_lost(products, tmp_path, monkeypatch, capsys, on_ray):
    with losing_a_node(tmp_path / "nodes", monkeypatch) as cluster:
        given = ("--each", products, "--ray", cluster.address, "--jobs", 2)
        assert run(*given, load=load_where_tower) == 0
        assert "learned 4 of 4 products" in capsys.readouterr().out
    assert cluster.lost
    there = facts_of_all()
    here = learned_one_by_one(products, tmp_path / "other", monkeypatch)
    for found in (there, here):  # a product whose machine was lost after it was written is learned once more
        for facts in found.values():
            del facts["version"]
    assert there == here


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_profile_that_stays_on_another_machine_is_no_silent_loss(products, tmp_path, monkeypatch, capsys, on_ray):
    from reason_iad import files

    elsewhere = tmp_path / "not shared"
    monkeypatch.setattr(files, "home", lambda: elsewhere)  # here alone: the actors have the one of the environment
    assert run("--each", products, "--ray", "local", "--jobs", 1) == 2
    assert capsys.readouterr().err.count("expected REASON_IAD_HOME to be a folder that all machines share") == 4
