import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from reason_iad.errors import EvidenceError
from reason_iad.evidence import bank_file, reference_checks, residuals
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import EvidenceOptions, Stream, altered_copies, extract, pool_blocks
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.search import enlarge, search, search_left_out
from reason_iad.images import resize


class ColorTower:
    """Patches are described by the mean and the spread of their colors: enough to see a stain, cheap to compute."""

    def efficientnet(self, images, size):
        return {8: self._patches(images, size, 8), 16: self._patches(images, size, 16)}

    def vit(self, images, size, layers):
        return {layer: self._patches(images, size, 14) for layer in layers}

    def _patches(self, images, size, stride):
        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // stride, stride, size // stride, stride, 3)
        return torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)), blocks.mean(dim=(2, 4)) ** 2 + 0.1], dim=-1)


OPTIONS = EvidenceOptions(
    streams=(
        Stream("efficientnet", 8, 224, pool=2),
        Stream("efficientnet", 16, 224, window=2, unlike=0.38),
        Stream("vit", 9, 224, "euclidean"),
    )
)
TOWER = ColorTower()


def good_part(seed, hw=(90, 120)):
    rng = np.random.default_rng(seed)
    image = np.full((*hw, 3), (70, 90, 110), dtype=np.float64)
    image[hw[0] // 4 : hw[0] // 2, hw[1] // 4 : hw[1] * 3 // 4] = (190, 180, 160)
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def stained(pixels):
    found = pixels.copy()
    height, width = found.shape[:2]
    found[height * 7 // 10 : height * 9 // 10, width * 7 // 10 : width * 9 // 10] = (250, 20, 20)
    return found


def bank_of(count, **changes):
    options = dataclasses.replace(OPTIONS, **changes)
    return MemoryBank.build([good_part(seed) for seed in range(count)], TOWER, options)


def random_features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain_distance(one, other, metric):
    if metric == "euclidean":
        return float((one - other).norm())
    return 1 - float(one @ other / one.norm() / other.norm())


@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("num_neighbors", [1, 3])
def test_search_finds_what_a_search_in_plain_loops_finds(window, num_neighbors, monkeypatch):
    monkeypatch.setattr("reason_iad.evidence.search.CHUNK", 7)  # smaller than the memory, and no divisor of it
    query, references = random_features(5, 4, 6), random_features(3, 5, 4, 6, seed=1)
    found = search(query, references, ("euclidean", "cosine"), num_neighbors, window)
    for metric, y, x in itertools.product(("euclidean", "cosine"), range(5), range(4)):
        distances = sorted(
            plain_distance(query[y, x], references[r, v, u], metric)
            for r, v, u in itertools.product(range(3), range(5), range(4))
            if window is None or max(abs(v - y), abs(u - x)) <= window
        )
        assert found[metric][y, x] == pytest.approx(np.mean(distances[:num_neighbors]), abs=1e-5)


class DirectionTower:
    """Patches are described by how steeply they rise and fall to the right and downward."""

    def efficientnet(self, images, size):
        gray = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()).float().mean(-1) for image in images])
        right, down = gray[:, :-1, 1:] - gray[:, :-1, :-1], gray[:, 1:, :-1] - gray[:, :-1, :-1]
        steps = torch.stack([right, -right, down, -down], dim=1).clamp(min=0).square()
        pooled = torch.nn.functional.adaptive_avg_pool2d(steps, size // 16).sqrt()
        return {16: pooled.permute(0, 2, 3, 1)}


def striped(seed, quarter=0):
    rng = np.random.default_rng(seed)
    image = 60 + np.arange(96)[:, None, None] % 16 * 8 + rng.normal(0, 5, (96, 96, 3))
    return np.ascontiguousarray(np.rot90(np.clip(image, 0, 255).astype(np.uint8), quarter))


DIRECTIONS = EvidenceOptions(streams=(Stream("efficientnet", 16, 96, "euclidean"),))


def test_references_are_turned_where_they_lie_turned_and_only_there():
    upright = MemoryBank.build([striped(seed) for seed in range(5)], DirectionTower(), DIRECTIONS)
    lying = MemoryBank.build([striped(seed, seed) for seed in range(5)], DirectionTower(), DIRECTIONS)
    assert (upright.views, lying.views) == (1, 4)
    assert upright.num_references == lying.num_references == 5
    off = dataclasses.replace(DIRECTIONS, rotations="off")
    few = [striped(0), striped(1)]
    on = MemoryBank.build(few, DirectionTower(), dataclasses.replace(DIRECTIONS, rotations="on"))
    new = striped(9, 1)
    strange = compare(new, MemoryBank.build(few, DirectionTower(), off), DirectionTower()).anomaly_score
    assert compare(new, on, DirectionTower()).anomaly_score < 0.6 < 0.9 < strange
    many = MemoryBank.build([striped(seed, seed) for seed in range(9)], DirectionTower(), DIRECTIONS)
    assert many.views == 1  # enough references show every orientation themselves


class TwoDirectionTowers(DirectionTower):
    """The same description from a second tower, which counts the images that it is shown."""

    def __init__(self):
        self.shown = 0

    def vit(self, images, size, layers):
        self.shown += len(images)
        return {layer: self.efficientnet(images, size)[16] for layer in layers}


def test_the_costly_tower_sees_turned_parts_only_where_the_cheap_one_does_not_settle_it():
    both = dataclasses.replace(DIRECTIONS, streams=(*DIRECTIONS.streams, Stream("vit", 7, 112, "cosine")))
    towers = TwoDirectionTowers()
    assert MemoryBank.build([striped(seed) for seed in range(5)], towers, both).views == 1
    assert towers.shown == 5  # each part as it is
    assert MemoryBank.build([striped(seed, seed) for seed in range(5)], towers, both).views == 4
    assert towers.shown == 5 + 5 * 4


def test_a_turned_reference_is_left_out_with_all_its_views():
    checked = np.kron(np.random.default_rng(0).integers(0, 255, (6, 6, 1)), np.ones((16, 16, 3))).astype(np.uint8)
    parts = [striped(0), striped(1), checked]
    on, off = (
        MemoryBank.build(parts, DirectionTower(), dataclasses.replace(DIRECTIONS, rotations=turns))
        for turns in ("on", "off")
    )
    # its own views, turned by half, would explain the checked one; the stripes do not
    assert on.reference_scores[2] == max(on.reference_scores) == pytest.approx(off.reference_scores[2], abs=0.05)


def test_streams_of_one_source_share_its_features():
    streams = (Stream("efficientnet", 16, 224, "euclidean"), Stream("efficientnet", 16, 224, "cosine"))
    bank = bank_of(2, streams=streams)
    assert list(bank.features) == ["efficientnet-16@224"]
    assert set(bank.calibration.scales) == {"efficientnet-16@224 euclidean", "efficientnet-16@224 cosine"}


def test_a_stream_that_only_the_map_reads_is_measured_beside_all_references_alone():
    streams = (Stream("efficientnet", 16, 224), Stream("vit", 9, 224, "euclidean", weight=0.0))
    bank = bank_of(3, streams=streams)
    features = {source: one[0] for source, one in extract([good_part(7)], TOWER, bank.options).items()}
    apart = residuals.patch_distances(features, bank.features, bank.options, groups=3)
    assert {name: len(maps) for name, maps in apart.items()} == {streams[0].name: 4, streams[1].name: 1}
    whole = residuals.patch_distances(features, bank.features, bank.options)
    for name, maps in whole.items():
        np.testing.assert_allclose(apart[name][0], maps[0], rtol=1e-5)


def test_score_and_map_weigh_the_streams_apart():
    streams = (Stream("efficientnet", 16, 224, map_weight=0.0), Stream("vit", 9, 224, "euclidean", weight=0.0))
    bank = bank_of(3, streams=streams)
    both = {source: one[0] for source, one in extract([stained(good_part(9))], TOWER, bank.options).items()}
    found = bank.measure(both)
    only = {name: [dataclasses.replace(s, map_weight=1.0, weight=1.0)] for name, s in zip("sm", streams, strict=True)}
    score = bank_of(3, streams=tuple(only["s"])).measure({k: v for k, v in both.items() if k.startswith("eff")})
    place = bank_of(3, streams=tuple(only["m"])).measure({k: v for k, v in both.items() if k.startswith("vit")})
    assert found.statistic == pytest.approx(score.statistic, rel=1e-5)
    assert np.allclose(found.raw, place.raw, atol=1e-5)


def test_the_mean_of_several_levels_is_that_of_their_normalized_features():
    class Levels:
        def vit(self, images, size, layers):
            return {layer: random_features(len(images), 4, 4, 6, seed=layer) * layer + layer for layer in layers}

    stream = Stream("vit", (3, 5), 56)
    assert stream.name == "vit-3+5@56 cosine"
    (found,) = extract([good_part(0)], Levels(), EvidenceOptions(streams=(stream,))).values()
    wanted = []
    for layer in (3, 5):
        patch = random_features(1, 4, 4, 6, seed=layer)[0, 2, 1]
        wanted.append((patch - patch.mean()) / patch.std(unbiased=False))
    assert torch.allclose(found[0, 2, 1], (wanted[0] + wanted[1]) / 2, atol=1e-3)


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("num_neighbors", [1, 2])
def test_leaving_a_reference_out_of_the_search_is_searching_the_others(window, num_neighbors):
    query, references = random_features(5, 4, 6), random_features(6, 5, 4, 6, seed=1)
    found = search_left_out(query, references, 3, ("euclidean", "cosine"), num_neighbors, window)
    for metric, maps in found.items():
        assert maps.shape == (4, 5, 4)
        wanted = [search(query, references, (metric,), num_neighbors, window)[metric]]
        for out in range(3):
            others = torch.cat([references[: 2 * out], references[2 * out + 2 :]])
            wanted.append(search(query, others, (metric,), num_neighbors, window)[metric])
        assert np.allclose(maps, np.stack(wanted), atol=1e-5)


def test_an_image_is_measured_as_the_references_are():
    parts = [good_part(seed) for seed in range(5)]
    options = dataclasses.replace(OPTIONS, rotations="off")
    bank = MemoryBank.build(parts, TOWER, options)
    features = {source: one[0] for source, one in extract([good_part(9)], TOWER, options).items()}
    each = []
    for out in range(5):
        others = {s: torch.cat([one[:out], one[out + 1 :]]) for s, one in bank.features.items()}
        one = dataclasses.replace(bank, features=others)
        each.append(one._judge(features, residuals.patch_distances(features, others, options))[1][0])
    assert bank.measure(features).statistic == pytest.approx(np.mean(each), rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_stain_is_found_where_it_is_and_a_good_part_stays_calm(count):
    bank = bank_of(count)
    good, bad = compare(good_part(99), bank, TOWER), compare(stained(good_part(99)), bank, TOWER)
    assert not good.gate_open
    assert good.regions((90, 120)) == ()
    assert good.anomaly_map.mean() < 0.02
    assert bad.gate_open
    assert bad.anomaly_score > 0.6 > 0.55 > good.anomaly_score
    (region,) = bad.regions((90, 120))
    assert region.place == "bottom right"
    x1, y1, x2, y2 = region.box_xyxy
    assert abs(x1 - 84) <= 15
    assert abs(y1 - 63) <= 15
    assert abs(x2 - 108) <= 15
    assert abs(y2 - 81) <= 15


def test_scores_of_other_normals_lie_around_those_of_the_references():
    bank = bank_of(6)
    scores = [compare(good_part(seed), bank, TOWER).anomaly_score for seed in range(50, 62)]
    assert np.median(scores) < 0.5
    assert max(scores) < 0.75


def test_the_map_of_one_image_does_not_depend_on_its_own_extremes():
    bank = bank_of(4)
    small = stained(good_part(99))
    small[:20, :20] = (0, 255, 0)  # a second, much odder place
    one, two = compare(stained(good_part(99)), bank, TOWER), compare(small, bank, TOWER)
    assert np.allclose(one.anomaly_map[4:, 4:], two.anomaly_map[4:, 4:], atol=0.05)


def test_no_reference_is_an_error_that_says_what_to_do():
    with pytest.raises(EvidenceError, match="at least one image of a good part"):
        MemoryBank.build([], TOWER, OPTIONS)


def test_one_reference_says_that_more_would_help():
    assert bank_of(1).warnings == (reference_checks.SINGLE,)


def test_a_defective_reference_is_named():
    references = [good_part(seed) for seed in range(6)]
    references[2] = stained(references[2])
    (warning,) = MemoryBank.build(references, TOWER, OPTIONS).warnings
    assert "number 3 is" in warning
    assert bank_of(6).warnings == ()


def test_a_reference_is_odd_from_nearly_twice_the_usual_statistic_on():
    usual = np.array([1.0, 1.1, 0.9, 1.0, 1.7], dtype=np.float32)
    assert reference_checks.odd_references(usual) == ()
    (warning,) = reference_checks.odd_references(usual + np.array([0, 0, 0, 0, 0.2], dtype=np.float32))
    assert "number 5 is 1.9 times" in warning
    assert reference_checks.odd_references(np.array([1.0, 1.0, 9.0], dtype=np.float32)) == ()  # too few to tell


def test_one_reference_widens_the_differences_of_its_altered_copies():
    stream = OPTIONS.streams[1]
    bank = bank_of(1, streams=(stream,))
    copies = TOWER.efficientnet(altered_copies(good_part(0), 224), 224)[16]
    references = bank.features[stream.source]
    distances = np.stack([search(one, references, ("cosine",), 1, stream.window)["cosine"] for one in copies])
    assert bank.calibration.scales[stream.name].low == pytest.approx(1.8225 * np.quantile(distances, 0.99), rel=1e-4)


def test_a_single_reference_is_turned_where_a_person_asks_for_it():
    part = np.zeros((90, 90, 3), dtype=np.uint8)
    part[10:40, 20:80] = (200, 60, 60)
    bank = MemoryBank.build([part], DirectionTower(), dataclasses.replace(DIRECTIONS, rotations="on"))
    assert (bank.num_references, bank.views) == (1, 4)
    turned = compare(np.ascontiguousarray(np.rot90(part)), bank, DirectionTower())
    assert turned.anomaly_score <= compare(part, bank, DirectionTower()).anomaly_score + 0.05


def test_references_of_other_products_are_named():
    rng = np.random.default_rng(0)
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = (0, 0, 255)
    options = dataclasses.replace(OPTIONS, streams=(dataclasses.replace(OPTIONS.streams[1], unlike=0.1),))
    mixed = MemoryBank.build([*(good_part(seed) for seed in range(3)), stripes], TOWER, options)
    assert "number 4 resembles none of the others" in mixed.warnings[0]
    noise = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    two = MemoryBank.build([stripes, noise], TOWER, options)
    assert "do not resemble each other" in two.warnings[0]
    goods = MemoryBank.build([good_part(0), good_part(1)], TOWER, options)
    assert compare(stripes, goods, TOWER).unsuitable


@pytest.mark.parametrize(
    ("hw", "told"), [((90, 120), False), ((180, 240), False), ((90, 100), True), ((160, 120), True)]
)
def test_a_reference_of_other_proportions_is_named_and_another_size_is_not(hw, told):
    goods = [good_part(seed) for seed in range(3)] + [good_part(3, hw)]
    warnings = MemoryBank.build(goods, TOWER, OPTIONS).warnings
    assert any("number 4 has other proportions" in warning for warning in warnings) is told


def test_a_saved_bank_gives_the_same_figures_when_it_is_read(tmp_path):
    bank = bank_of(4, num_neighbors=2).with_held_out([good_part(seed) for seed in range(20, 30)], TOWER)
    bank.save(tmp_path / "bank")
    read = MemoryBank.load(tmp_path / "bank")
    image = stained(good_part(99))
    one, two = compare(image, bank, TOWER), compare(image, read, TOWER)
    assert np.array_equal(one.raw, two.raw)
    assert one.summary((90, 120)) == two.summary((90, 120))
    assert (read.options, read.calibration, read.normal_scores) == (bank.options, bank.calibration, bank.normal_scores)
    assert len(read.pictures) == 4
    assert read.pictures == bank.pictures
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == ["bank.json", "bank.safetensors"]
    assert json.loads((tmp_path / "bank" / "bank.json").read_text())["format_version"] == bank_file.FORMAT_VERSION


def test_saving_that_fails_leaves_the_old_bank_whole(tmp_path, monkeypatch):
    bank_of(2).save(tmp_path)
    before = (tmp_path / "bank.safetensors").read_bytes()

    def fail(_tensors, path, **_named):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        bank_of(3).save(tmp_path)
    assert (tmp_path / "bank.safetensors").read_bytes() == before
    assert MemoryBank.load(tmp_path).num_references == 2


def test_a_bank_that_cannot_be_read_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(EvidenceError, match="does not exist"):
        MemoryBank.load(tmp_path)
    bank_of(2).save(tmp_path)
    path = tmp_path / "bank.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EvidenceError, match="build the bank again"):
        MemoryBank.load(tmp_path)
    path.write_bytes(data)
    monkeypatch.setattr(bank_file, "FORMAT_VERSION", 99)
    with pytest.raises(EvidenceError, match="this program reads 99"):
        MemoryBank.load(tmp_path)


def test_from_four_references_on_an_image_is_ranked_among_them():
    bank = bank_of(4)
    odd = compare(stained(good_part(99)), bank, TOWER)
    assert (odd.p_value, odd.num_normals) == (0.2, 4)
    assert odd.text((90, 120)).endswith(" Odder than each of the 4 references beside the others.")
    rank = sum(score >= odd.anomaly_score - 0.9 for score in bank.reference_scores)
    found = dataclasses.replace(odd, p_value=(1 + rank) / 5)
    assert f" {rank} of the 4 references look at least this odd" in found.text((90, 120))


def test_an_image_that_is_no_picture_of_the_product_is_uncertain_and_says_why():
    found = compare(np.zeros((90, 120, 3), np.uint8), bank_of(4), TOWER)
    assert found.judge(0.02) == "uncertain"
    assert "blank" in found.unsuitable
    assert "blank" in found.summary((90, 120)).unsuitable
    assert compare(good_part(50), bank_of(4), TOWER).unsuitable is None


def test_p_values_need_enough_held_out_normals():
    bank = bank_of(3)
    assert compare(good_part(99), bank, TOWER).p_value is None
    few = bank.with_held_out([good_part(seed) for seed in range(20, 28)], TOWER)
    assert compare(good_part(99), few, TOWER).p_value is None
    enough = bank.with_held_out([good_part(seed) for seed in range(20, 29)], TOWER)
    assert compare(stained(good_part(99)), enough, TOWER).p_value == pytest.approx(0.1)
    assert compare(good_part(99), enough, TOWER).p_value > 0.1


@pytest.mark.parametrize("hw", [(16, 16), (300, 40), (31, 400)])
def test_images_of_any_size_and_aspect_are_compared(hw):
    found = compare(stained(good_part(7, hw)), bank_of(3), TOWER)
    for region in found.regions(hw):
        x1, y1, x2, y2 = region.box_xyxy
        assert 0 <= x1 < x2 <= hw[1]
        assert 0 <= y1 < y2 <= hw[0]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 4), (5, 3), (7, 7), (16, 20)])
def test_the_grid_holds_the_strongest_value_that_touches_each_cell(rows, columns):
    found = compare(stained(good_part(99)), bank_of(3), TOWER)
    values = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    grid = dataclasses.replace(found, anomaly_map=values).grid(rows, columns)
    for row in range(rows):
        for column in range(columns):
            touching = [
                values[y, x]
                for y in range(7)
                for x in range(7)
                if y * rows < (row + 1) * 7
                and (y + 1) * rows > row * 7
                and x * columns < (column + 1) * 7
                and (x + 1) * columns > column * 7
            ]
            assert grid[row, column] == max(touching)


def test_the_line_for_the_model_names_place_strength_and_references():
    bank = bank_of(3)
    assert "no area differs more than normal parts do" in compare(good_part(99), bank, TOWER).text((90, 120))
    line = compare(stained(good_part(99)), bank, TOWER).text((90, 120))
    assert line.startswith("Compared with 3 normal references: differs at bottom right (")
    assert "\n" not in line


def test_an_area_no_larger_than_those_of_references_is_shown_as_weak_only():
    found = compare(stained(good_part(99)), bank_of(3), TOWER)
    (clear,) = found.regions((90, 120))
    assert not clear.weak
    small = dataclasses.replace(found, mass_limit=1e9)
    assert small.regions((90, 120)) == ()
    assert small.shown((90, 120), "normal") == ()
    (weak,) = small.shown((90, 120), "uncertain")
    assert dataclasses.replace(weak, weak=False) == clear


@pytest.mark.parametrize("score", [0.1, 0.3, 0.39, 0.6, 0.9])
@pytest.mark.parametrize("mass_limit", [0.0, 1e9])
@pytest.mark.parametrize("verdict", ["normal", "uncertain", "defective"])
def test_line_and_regions_name_the_same_places(score, mass_limit, verdict):
    found = compare(stained(good_part(99)), bank_of(3), TOWER)
    found = dataclasses.replace(found, anomaly_score=score, mass_limit=mass_limit)
    shown, line = found.shown((90, 120), verdict), found.text((90, 120), verdict)
    assert bool(shown) is (verdict != "normal")  # a place with every verdict that is not normal
    assert ("differs at" in line) is (bool(shown) and not shown[0].weak)
    assert ("(weak)" in line) is (bool(shown) and shown[0].weak)
    assert all(region.place in line for region in shown)
    assert found.summary((90, 120), verdict).gate_open is (bool(shown) and not shown[0].weak)


def test_altered_copies_stay_close_to_the_image_and_differ_from_it():
    image = good_part(0, (64, 64))
    for copy in altered_copies(image, 64):
        assert copy.shape == image.shape
        gap = np.abs(copy.astype(float) - image).mean()
        assert 0.5 < gap < 30


def test_pooled_blocks_are_means_of_their_patches():
    features = torch.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).float()
    assert torch.allclose(pool_blocks(features, 2)[1, 1, 2], features[1, 2:4, 4:6].mean(dim=(0, 1)))


def test_enlarging_keeps_a_constant_map_and_its_place():
    assert np.allclose(enlarge(np.full((2, 2), 3.0, dtype=np.float32), (5, 4)), 3.0)
    corner = np.zeros((4, 4), dtype=np.float32)
    corner[3, 0] = 1.0
    large = enlarge(corner, (8, 8))
    assert np.unravel_index(large.argmax(), large.shape) in {(6, 0), (7, 0), (6, 1), (7, 1)}


@pytest.mark.parametrize(
    "change",
    [
        {"streams": ()},
        {"num_neighbors": 0},
        {"batch_size": 0},
        {"streams": OPTIONS.streams[:1] * 2},
        {"rotations": "maybe"},
    ],
)
def test_options_that_make_no_sense_are_refused(change):
    with pytest.raises(EvidenceError, match=r"expected|name each once"):
        dataclasses.replace(OPTIONS, **change)


@pytest.mark.weights
@pytest.mark.data
def test_real_defects_score_above_real_normals(inspection_data):
    import csv

    from reason_iad.errors import WeightsError
    from reason_iad.images import read_image
    from reason_iad.models.vision import BundledVision

    try:
        vision = BundledVision.load()
    except WeightsError as error:
        pytest.skip(f"the bundled weights are not here: {error}")
    with (inspection_data / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["category"] == "hazelnut"]

    def some(split, label, count):
        chosen = [row["image"] for row in rows if (row["split"], row["label"]) == (split, label)]
        return [read_image(inspection_data / name).pixels for name in chosen[:count]]

    bank = MemoryBank.build(some("train", "normal", 4), vision)
    normal = [compare(pixels, bank, vision).anomaly_score for pixels in some("test", "normal", 3)]
    defective = [compare(pixels, bank, vision).anomaly_score for pixels in some("test", "defective", 3)]
    assert max(normal) < min(defective)
