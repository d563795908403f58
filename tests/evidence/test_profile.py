"""Category profiles: learned, judged, corrected, saved, copied."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from reason_iad.errors import EvidenceError
from reason_iad.evidence.features import EvidenceOptions, Stream
from reason_iad.evidence.profile import CategoryProfile, choose_references, load_profile
from reason_iad.evidence.profile_store import find_profile, list_profiles, profile_folder
from reason_iad.images import read_image


class ColorTower:
    """Patches are described by the mean and the spread of their colors."""

    def efficientnet(self, images, size):
        return {8: self._patches(images, size, 8), 16: self._patches(images, size, 16)}

    def _patches(self, images, size, stride):
        from reason_iad.images import resize

        pixels = torch.stack([torch.from_numpy(resize(image, (size, size)).copy()) for image in images]).float() / 255
        blocks = pixels.reshape(len(images), size // stride, stride, size // stride, stride, 3)
        return torch.cat([blocks.mean(dim=(2, 4)), blocks.std(dim=(2, 4)), blocks.mean(dim=(2, 4)) ** 2 + 0.1], dim=-1)


TOWER = ColorTower()
OPTIONS = EvidenceOptions(streams=(Stream("efficientnet", 16, 224, unlike=0.38),))


def good_part(seed):
    rng = np.random.default_rng(seed)
    image = np.full((90, 120, 3), (70, 90, 110), dtype=np.float64)
    image[22:45, 30:90] = (190, 180, 160)
    return np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def stained(pixels, color=(250, 20, 20), where=(62, 84)):
    found = pixels.copy()
    found[where[0] : where[0] + 18, where[1] : where[1] + 24] = color
    return found


@pytest.fixture(scope="module")
def learned():
    return CategoryProfile.learn("Blue plate", [good_part(seed) for seed in range(12)], TOWER, OPTIONS)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    return tmp_path


def test_a_stained_part_is_defective_and_a_good_one_normal(learned):
    good, bad = learned.compare(good_part(99), TOWER), learned.compare(stained(good_part(99)), TOWER)
    assert learned.verdict(good, 0.02).verdict == "normal"
    assert learned.verdict(bad, 0.02).verdict == "defective"
    assert bad.p_value == pytest.approx(1 / 13)
    assert learned.verdict(bad, 0.2).threshold is not None
    assert learned.score(stained(good_part(99)), TOWER) == bad.anomaly_score


def test_the_verdict_says_what_twelve_normals_cannot_promise(learned):
    said = learned.verdict(learned.compare(good_part(50), TOWER), 0.02)
    assert said.threshold == pytest.approx(0.642, abs=1e-3)  # estimated: about 2 of 100 good parts lie above it
    assert said.false_alarm_rate == pytest.approx(1 / 13)
    assert "cannot promise" in said.promise
    assert "at least 49" in said.promise


def test_a_profile_comes_back_the_same_from_its_folder_and_from_a_copy_of_it(learned, home):
    assert learned.save() == profile_folder("blue-plate") == home / "profiles" / "blue_plate"
    shutil.copytree(home / "profiles" / "blue_plate", home / "profiles" / "other")
    wanted = learned.compare(stained(good_part(7)), TOWER)
    for name in ("Blue Plate", "other"):
        again = load_profile(name)
        found = again.compare(stained(good_part(7)), TOWER)
        np.testing.assert_array_equal(found.raw, wanted.raw)
        assert found.anomaly_score == wanted.anomaly_score
        assert again.verdict(found, 0.02) == learned.verdict(wanted, 0.02)
        assert [m.sha256 for m in again.references] == [m.sha256 for m in learned.references]
    assert list_profiles() == ("blue_plate", "other")


def test_a_false_alarm_that_is_called_normal_is_none_the_next_time(learned, home):
    learned.save()
    odd = stained(good_part(40), (40, 60, 160))
    before = learned.compare(odd, TOWER)
    assert learned.verdict(before, 0.02).verdict != "normal"
    learned.add_feedback(odd, "normal", TOWER).save()
    profile = load_profile("blue plate")
    assert profile.version == 2
    assert len(profile.normals) == 13
    other = stained(good_part(41), (40, 60, 160))
    assert profile.score(other, TOWER) < 0.6 * before.anomaly_score
    assert profile.verdict(profile.compare(other, TOWER), 0.02).verdict == "normal"


def test_a_defect_that_was_missed_is_odder_the_next_time_and_good_parts_are_not(learned):
    faint = stained(good_part(40), (74, 94, 118))
    again = stained(good_part(41), (74, 94, 118), where=(10, 10))
    taught = learned.add_feedback(faint, "defective", TOWER)
    assert taught.score(again, TOWER) > learned.score(again, TOWER)
    # the promise is learned again with the defect known, so it holds for good parts as before
    fresh = [taught.compare(good_part(seed), TOWER).p_value for seed in range(200, 230)]
    assert np.mean(np.array(fresh) <= 1 / 13) <= 0.2
    assert len(taught.bank.normal_scores) == 12


def test_one_image_has_one_label_the_last_one_given(learned):
    image = good_part(77)
    twice = learned.add_feedback(image, "defective", TOWER).add_feedback(image, "normal", TOWER)
    assert len(twice.members) == 13
    assert twice.defectives == ()
    assert not twice.bank.defects
    assert twice.version == 3


def test_an_image_can_be_taken_back_and_an_older_version_read(learned, home):
    folder = learned.save()
    added = learned.add_feedback(good_part(55), "normal", TOWER)
    added.save()
    removed = added.without(added.members[-1].sha256[:10])
    removed.save()
    assert [m.sha256 for m in removed.members] == [m.sha256 for m in learned.members]
    assert CategoryProfile.load(folder).version == 3
    assert len(CategoryProfile.load(folder, version=2).normals) == 13
    assert CategoryProfile.load(folder).history[1:] == ("image added as normal", "image removed")


def test_two_changes_at_once_do_not_lose_one_silently(learned, home):
    learned.save()
    learned.add_feedback(good_part(55), "normal", TOWER).save()
    with pytest.raises(EvidenceError, match="another change came first"):
        learned.add_feedback(good_part(56), "normal", TOWER).save()


def test_learning_again_takes_the_next_number_and_keeps_the_old_one(learned, home):
    folder = learned.save()
    CategoryProfile.learn("blue plate", [good_part(3), good_part(4)], TOWER, OPTIONS).save()
    assert load_profile("blue plate").version == 2
    assert len(CategoryProfile.load(folder, version=1).normals) == 12


def test_old_versions_and_members_that_none_names_are_dropped(learned, home):
    folder = learned.save()
    profile = load_profile("blue plate")
    for seed in range(100, 107):
        added = profile.add_feedback(good_part(seed), "normal", TOWER)
        profile = added.without(added.members[-1].sha256)
        profile = dataclasses.replace(profile, version=profile.version - 1)
        profile.save()
    kept = sorted(path.stem for path in (folder / "versions").glob("*.json"))
    assert kept == ["0004", "0005", "0006", "0007", "0008"]
    assert len(list((folder / "members").glob("*.safetensors"))) == 12


def test_more_normals_than_references_still_judge_the_false_alarm_rate():
    normals = [good_part(seed) for seed in range(60)]
    profile = CategoryProfile.learn("plate", normals, TOWER, OPTIONS)
    assert profile.bank.num_references == 32
    assert len(profile.bank.normal_scores) == 60
    said = profile.verdict(profile.compare(good_part(500), TOWER), 0.02)
    assert said.threshold is not None
    alarms = [profile.compare(good_part(seed), TOWER).anomaly_score > said.threshold for seed in range(600, 680)]
    assert np.mean(alarms) <= 0.08  # 2 % promised; 80 draws


def test_as_many_references_as_asked_for_are_compared_with():
    options = replace(OPTIONS, max_references=5)
    profile = CategoryProfile.learn("plate", [good_part(seed) for seed in range(12)], TOWER, options)
    assert profile.bank.num_references == len(profile.references) == 5
    assert len(profile.bank.normal_scores) == 12


def test_references_are_chosen_without_looking_at_them(learned):
    assert choose_references(learned.normals, 5) == tuple(learned.normals[index] for index in (0, 2, 4, 7, 9))


def test_the_same_file_twice_is_one_normal():
    profile = CategoryProfile.learn("plate", [good_part(1), good_part(2), good_part(1)], TOWER, OPTIONS)
    assert len(profile.normals) == 2


def test_one_normal_image_learns_from_altered_copies_and_keeps_that_when_a_defect_is_added():
    profile = CategoryProfile.learn("plate", [good_part(1)], TOWER, OPTIONS)
    assert any("one reference only" in warning for warning in profile.warnings)
    taught = profile.add_feedback(stained(good_part(3)), "defective", TOWER)
    assert taught.bank.calibration == profile.bank.calibration
    assert taught.score(stained(good_part(5)), TOWER) > profile.score(stained(good_part(5)), TOWER)


def test_the_prototype_is_the_mean_vector_of_the_normals(home):
    images = [good_part(seed) for seed in range(3)]
    profile = CategoryProfile.learn("plate", images, TOWER, OPTIONS, embed=lambda p: p.mean((0, 1)).astype(np.float32))
    taught = profile.add_feedback(stained(good_part(9)), "defective", TOWER)
    taught.save()
    np.testing.assert_allclose(
        load_profile("plate").prototype, np.mean([one.mean((0, 1)) for one in images], axis=0), rtol=1e-5
    )


def test_progress_is_told_before_each_image():
    told = []
    CategoryProfile.learn(
        "plate",
        [good_part(1), good_part(2)],
        TOWER,
        OPTIONS,
        progress=lambda done, count, name: told.append((done, count)),
    )
    assert told == [(0, 2), (1, 2)]


@pytest.mark.parametrize("name", ["", "../secret", "a/b", "__", "x" * 101])
def test_a_category_that_could_leave_the_folder_is_refused(name, home):
    assert find_profile(name) is None
    with pytest.raises(EvidenceError, match="expected letters"):
        profile_folder(name)


def test_what_cannot_be_learned_says_so(learned, home):
    with pytest.raises(EvidenceError, match="0 images"):
        CategoryProfile.learn("plate", [], TOWER, OPTIONS)
    with pytest.raises(EvidenceError, match="normal or defective"):
        learned.add_feedback(good_part(1), "broken", TOWER)
    with pytest.raises(EvidenceError, match="0 images"):
        learned.without("zzz")
    with pytest.raises(EvidenceError, match="reason-iad learn"):
        load_profile("never seen")
    two = CategoryProfile.learn("plate", [good_part(1), good_part(2)], TOWER, OPTIONS)
    with pytest.raises(EvidenceError, match="at least 2"):
        two.without(two.members[0].sha256)


@pytest.mark.parametrize("damage", ["profile", "version", "member", "bank", "format"])
def test_a_damaged_profile_is_named_and_no_traceback(learned, home, damage):
    folder = learned.save()
    if damage == "profile":
        (folder / "profile.json").write_text("{")
    elif damage == "version":
        (folder / "versions" / "0001.json").unlink()
    elif damage == "member":
        next((folder / "members").glob("*.safetensors")).write_bytes(b"short")
    elif damage == "bank":
        (folder / "versions" / "0001.bank" / "bank.safetensors").write_bytes(b"")
    else:
        path = folder / "versions" / "0001.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(EvidenceError):
        load_profile("blue plate")


def sixteen_bits(pixels, factor):
    """A gray TIFF of 16 bits whose values are `factor` times those of the red channel."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0].astype(np.uint16) * factor).save(buffer, "TIFF")
    return read_image(buffer.getvalue(), name=f"part {factor}")


def test_a_profile_reads_every_image_by_the_scale_that_it_was_learned_by(home):
    parts = [sixteen_bits(good_part(seed), factor) for seed, factor in enumerate((3, 12, 12, 12, 12))]
    assert parts[0].scale != parts[1].scale  # each file alone would be stretched by itself
    profile = CategoryProfile.learn("Gray plate", parts, TOWER, OPTIONS)
    profile.save()
    assert load_profile("Gray plate").scale == profile.scale == parts[1].scale
    dark = profile.members[0].preview.mean()
    assert dark < 0.4 * profile.members[1].preview.mean()
    corrected = profile.add_feedback(sixteen_bits(good_part(7), 3), "normal", TOWER)
    assert abs(float(corrected.members[-1].preview.mean()) - dark) < 3
