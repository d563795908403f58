import numpy as np
import pytest
from scipy import ndimage

from reason_iad.evidence import suitability
from reason_iad.evidence.suitability import measure_picture, why_empty, why_unlike

HW = (240, 320)


def picture(seed=0):
    """A part with a bright body, detail of all sizes and some noise."""
    rng = np.random.default_rng(seed)
    detail = sum(ndimage.gaussian_filter(rng.normal(0, 1, HW), size) * size * 25 for size in (1, 3, 9))
    image = np.full(HW, 70.0) + detail
    image[60:180, 80:240] += 70
    return np.clip(image[..., None].repeat(3, axis=2) + rng.normal(0, 2, (*HW, 3)), 0, 255).astype(np.uint8)


REFERENCES = [measure_picture(picture(seed)) for seed in range(4)]


@pytest.mark.parametrize("gray", [0, 3, 128, 252, 255])
def test_a_blank_frame_is_empty_whatever_it_should_show(gray):
    frame = np.full((*HW, 3), gray, dtype=np.float64) + np.random.default_rng(0).normal(0, 1, (*HW, 3))
    assert "blank" in why_empty(np.clip(frame, 0, 255).astype(np.uint8))


def test_a_picture_is_not_empty():
    assert why_empty(picture()) is None


def test_a_frame_that_is_white_but_for_specks_is_saturated():
    frame = np.full((*HW, 3), 255, dtype=np.uint8)
    frame[100:130, 100:120] = 30
    assert "blank" in why_empty(frame) or "saturated white" in why_empty(frame)
    frame[100:140, 100:140] = 30
    assert "saturated white" in why_empty(frame)


def test_another_picture_of_the_same_part_is_taken_alike():
    assert all(why_unlike(measure_picture(picture(seed)), REFERENCES) is None for seed in range(10, 20))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p * 3.5, "over-exposed"),
        (lambda p: p * 0.15, "darker"),
        (lambda p: ndimage.gaussian_filter(p, (8, 8, 0)), "detail"),
        (lambda p: p * 0 + np.random.default_rng(0).integers(0, 256, p.shape), "nois"),
    ],
)
def test_a_picture_taken_otherwise_is_named(change, reason):
    found = np.clip(change(picture(9).astype(np.float64)), 0, 255).astype(np.uint8)
    assert reason in why_unlike(measure_picture(found), REFERENCES)


def test_a_colored_part_on_white_whose_color_is_saturated_is_over_exposed_although_no_tone_is_new():
    def on_white(seed, brightness):
        """A brown part on white; references are of many tones, as parts of one line may be."""
        image = np.full((*HW, 3), 255.0)
        image[60:180, 100:220] = np.array([1.0, 0.75, 0.4]) * brightness * (picture(seed)[60:180, 100:220] / 140)
        return measure_picture(np.clip(image, 0, 255).astype(np.uint8))

    references = [on_white(seed, tone) for seed, tone in enumerate((60, 110, 160, 200))]
    assert why_unlike(on_white(9, 90), references) is None
    assert "a color is saturated" in why_unlike(on_white(9, 90 * 3.2), references)


def test_a_dark_part_that_is_lit_too_brightly_is_named_although_nothing_is_saturated():
    dark = [measure_picture((picture(seed) * 0.3).astype(np.uint8)) for seed in range(5)]
    brighter = measure_picture((picture(5) * 0.51).astype(np.uint8))
    assert brighter.white == 0
    assert "brighter all over" in why_unlike(brighter, dark[:4])
    assert why_unlike(dark[4], dark[:4]) is None


def test_one_tone_alone_that_is_brighter_is_no_other_light():
    found = picture(9)
    found[60:180, 80:240] = np.clip(found[60:180, 80:240].astype(int) + 60, 0, 255)  # the body, a quarter of it
    assert "brighter all over" not in (why_unlike(measure_picture(found), REFERENCES) or "")


def test_a_picture_whose_contrast_is_clipped_away_is_pale_before_it_is_white():
    found = np.clip(picture(9).astype(np.float64) * 1.2 + 110, 0, 255).astype(np.uint8)
    facts = measure_picture(found)
    assert facts.white < suitability.MORE_WHITE
    assert why_unlike(facts, REFERENCES) is not None


def test_another_scale_shows_in_how_fine_detail_is_where_contrast_hides_it():
    magnified = ndimage.zoom(picture(9)[::8, ::8], (8, 8, 1), order=3).astype(np.float64)
    stretched = np.clip(magnified.mean() + 2.8 * (magnified - magnified.mean()), 0, 255).astype(np.uint8)
    found = measure_picture(stretched)
    limit = np.exp(suitability.FEWEST + suitability.PER_REFERENCE / len(REFERENCES))
    assert found.fine > min(one.fine for one in REFERENCES) / limit  # by itself not strange
    assert "another size" in why_unlike(found, REFERENCES)


def test_without_references_nothing_is_unlike():
    assert why_unlike(measure_picture(picture()), ()) is None
    assert suitability.PER_REFERENCE > suitability.FEWEST  # one reference leaves the most room
