"""Detection on a tiny data set with random towers: what is recorded gives every measure back."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_vision import PooledVision
from PIL import Image
from scipy.ndimage import zoom

from reason_iad.benchmark.detect import DetectSetting, DetectSolver, plan_detection
from reason_iad.benchmark.detect_maps import comparison_hw, pack_map, pack_mask, unpack_map, unpack_mask
from reason_iad.benchmark.detect_run import run_detection
from reason_iad.benchmark.detect_summary import MEASURES, summarize_detection
from reason_iad.benchmark.features import StoredBanks, StoredVision
from reason_iad.benchmark.plan_file import read_joined
from reason_iad.benchmark.pool import answer_here
from reason_iad.datasets.base import ImageSample
from reason_iad.datasets.registry import read_dataset
from reason_iad.evidence.compare import compare
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.images import read_image
from reason_iad.models.vision_cache import CachedVision

SETTING = DetectSetting(shots=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four training images and four test images, two of them with a bright square and its mask."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    base = rng.integers(60, 160, (64, 64, 3))

    def save(name: str, defect: bool = False):
        pixels = np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8)
        if defect:
            pixels[16:40, 24:48] = 255
            mask = np.zeros((64, 64), np.uint8)
            mask[16:40, 24:48] = 255
            path = root / name.replace("test", "ground_truth").replace(".png", "_mask.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(path)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)

    for number in range(4):
        save(f"nut/train/good/{number}.png")
    for number in range(2):
        save(f"nut/test/good/{number}.png")
        save(f"nut/test/bent/{number}.png", defect=True)
    return root


@pytest.fixture(scope="module")
def vision():
    return CachedVision(PooledVision())


def judge(root: Path, vision, folder: Path, setting: DetectSetting = SETTING):
    pool = functools.partial(answer_here, lambda: DetectSolver(vision))
    return run_detection(read_dataset(root), setting, folder, pool)[0]


def test_every_test_image_is_judged_and_a_marked_one_is_found_and_located(root, vision, tmp_path):
    assert judge(root, vision, tmp_path).asked == 4
    found = summarize_detection(tmp_path).to_json()
    assert found["n"] == 4
    nut = found["categories"]["nut"]
    assert (nut["normal"], nut["defective"], nut["masks"]) == (2, 2, 2)
    assert nut["image_auroc"] == 1.0
    assert nut["pixel_auroc"] > 0.9
    assert set(found["mean"]) == set(MEASURES)
    assert "| mean |" in summarize_detection(tmp_path).render()
    json.dumps(found, allow_nan=False)


def test_a_record_holds_the_map_that_comparing_gives(root, vision, tmp_path):
    judge(root, vision, tmp_path)
    unit = plan_detection(read_dataset(root), SETTING)[0]
    bank = MemoryBank.build([read_image(path).pixels for path in unit.references], vision)
    for record in read_joined(tmp_path).records.records:
        evidence = compare(read_image(root / record["image"]).pixels, bank, vision)
        assert record["score"] == pytest.approx(evidence.anomaly_score, abs=1e-5)
        assert unpack_map(record["map"]).shape == (64, 64)
        mask = unpack_mask(record)
        assert mask.sum() == (24 * 24 if record["defective"] else 0)


def test_the_references_depend_on_seed_and_names_alone(root):
    dataset = read_dataset(root)
    units = plan_detection(dataset, SETTING)
    shuffled = plan_detection(type(dataset)(dataset.name, dataset.samples[::-1]), SETTING)
    assert units[0].references == shuffled[0].references
    drawn = {plan_detection(dataset, DetectSetting(shots=2, seed=seed))[0].references for seed in range(12)}
    assert len(drawn) > 2


def test_a_category_with_fewer_training_images_than_shots_is_compared_with_those_it_has(root, vision, tmp_path):
    setting = DetectSetting(shots=5)
    pool = functools.partial(answer_here, lambda: DetectSolver(vision))
    outcome, faults = run_detection(read_dataset(root), setting, tmp_path, pool)
    assert (outcome.asked, outcome.errors) == (4, 0)
    assert "nut: has 4 normal training images; expected 5: it is compared with 4" in map(str, faults)
    assert {record["references"] for record in read_joined(tmp_path).records.records} == {4}


def test_a_corrected_label_or_mask_counts_and_nothing_is_judged_again(root, vision, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(root, data)
    assert judge(data, vision, tmp_path / "run").asked == 4
    before = summarize_detection(tmp_path / "run").to_json()["categories"]["nut"]
    for path in (data / "nut/ground_truth/bent").iterdir():  # the same marks, drawn on a transparent ground
        marked = np.asarray(Image.open(path)) > 0
        pixels = np.zeros((*marked.shape, 4), np.uint8)
        pixels[marked] = (255, 0, 0, 255)
        Image.fromarray(pixels).save(path)
    assert judge(data, vision, tmp_path / "run").asked == 0
    after = summarize_detection(tmp_path / "run").to_json()["categories"]["nut"]
    assert {name: after[name] for name in MEASURES} == {name: before[name] for name in MEASURES}
    (data / "nut/test/bent/0.png").rename(data / "nut/test/good/7.png")  # it was good after all
    assert judge(data, vision, tmp_path / "run").asked == 0
    corrected = summarize_detection(tmp_path / "run").to_json()["categories"]["nut"]
    assert (corrected["normal"], corrected["defective"]) == (3, 1)
    assert corrected["masks"] == 1


def test_an_image_with_references_of_its_own_is_compared_with_those(root, vision, tmp_path):
    dataset = read_dataset(root)
    own = (root / "nut/train/good/3.png",)
    samples = tuple(replace(s, references=own) if s.defective else s for s in dataset.samples)
    units = plan_detection(replace(dataset, samples=samples), SETTING)
    for unit in units:
        defective = {job.sample.defective for job in unit.jobs}
        assert len(defective) == 1
        assert (unit.references == own) == defective.pop()


def test_a_test_image_that_cannot_be_read_is_recorded_and_the_others_are_judged(root, vision, tmp_path):
    broken = root / "nut/test/good/9.png"
    broken.write_bytes(b"no image")
    try:
        outcome = judge(root, vision, tmp_path)
        assert (outcome.asked, outcome.errors) == (5, 1)
        assert summarize_detection(tmp_path).unreadable == ("nut/test/good/9.png",)
    finally:
        broken.unlink()


def test_a_packed_map_and_mask_come_back_at_the_size_of_comparison(root, tmp_path, vision):
    mask = np.zeros((600, 300), np.uint8)
    mask[100:200, 30:90] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample = ImageSample(tmp_path / "x.png", "x", "nut", "test", True, "dent", (tmp_path / "mask.png",))
    bank = MemoryBank.build([read_image(root / f"nut/train/good/{i}.png").pixels for i in range(2)], vision)
    evidence = compare(read_image(root / "nut/test/bent/0.png").pixels, bank, vision)
    Image.fromarray(mask).save(tmp_path / "x.png")
    record = {"mask": pack_mask(sample)[0], "map": pack_map(evidence, (600, 300))}
    found = unpack_mask(record)
    assert found.shape == comparison_hw((600, 300)) == (256, 128)
    assert found.mean() == pytest.approx(mask.mean(), rel=0.05)
    expected = zoom(
        evidence.raw,
        (256 / evidence.raw.shape[0], 128 / evidence.raw.shape[1]),
        order=1,
        grid_mode=True,
        mode="nearest",
    )
    assert unpack_map(record["map"]).astype(float) == pytest.approx(
        expected, abs=0.02 * float(np.ptp(evidence.raw)) + 0.01
    )


def test_a_defect_smaller_than_a_pixel_of_the_comparison_keeps_one(tmp_path):
    mask = np.zeros((2048, 2048), np.uint8)
    mask[1000:1003, 500:502] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    sample = ImageSample(tmp_path / "x.png", "x", "nut", "test", True, "dent", (tmp_path / "mask.png",))
    Image.fromarray(mask).save(tmp_path / "x.png")
    packed, _ = pack_mask(sample)
    found = unpack_mask({"mask": packed, "map": {"image_hw": [2048, 2048]}})
    assert found.sum() >= 1
    assert found[124:126, 62:63].any()


def test_features_read_from_the_store_are_those_of_the_towers(root, tmp_path):
    images = [read_image(root / f"nut/train/good/{number}.png").pixels for number in range(2)]
    towers, counted = PooledVision(), PooledVision()
    store = StoredVision(counted, tmp_path)
    for _ in range(2):
        states, maps = store.vit(images, 56, (7, 9)), store.efficientnet(images, 64)
        assert counted.images == 4  # each image once by each tower
        for layer, values in towers.vit(images, 56, (7, 9)).items():
            assert states[layer].equal(values)
        for stride, values in towers.efficientnet(images, 64).items():
            assert maps[stride].equal(values)
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"half")
    store.vit(images, 56, (7, 9))
    store.efficientnet(images, 64)
    assert counted.images == 5


def test_a_store_without_room_says_so_once_and_changes_no_result(root, tmp_path, capsys):
    (tmp_path / "store").write_text("a file where the folder should be")
    images = [read_image(root / f"nut/train/good/{number}.png").pixels for number in range(2)]
    found = StoredVision(PooledVision(), tmp_path / "store").vit(images, 56, (7,))[7]
    assert found.equal(PooledVision().vit(images, 56, (7,))[7])
    assert capsys.readouterr().err.count("no longer filled") == 1


def test_a_stored_bank_of_one_reference_is_the_bank_that_is_built(root, tmp_path, vision):
    reference = read_image(root / "nut/train/good/0.png").pixels
    built = MemoryBank.build([reference], vision)
    for _ in range(2):  # built and kept, then read
        held = StoredBanks(PooledVision(), vision, tmp_path).single(reference)
        assert held.calibration.median_statistic == pytest.approx(built.calibration.median_statistic, rel=1e-3)
        assert held.warnings == built.warnings
        for name, values in built.features.items():
            assert held.features[name].numpy() == pytest.approx(values.numpy(), abs=1e-4)
    assert list(tmp_path.rglob("bank.safetensors"))
