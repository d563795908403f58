import numpy as np
import pytest

from reason_iad.evidence import regions
from reason_iad.evidence.looks import measure_look


def find(heat, image_hw, **limits):
    return regions.find_regions(heat, np.clip(heat, 0, 1), image_hw, **limits)


def test_a_blob_gets_the_box_it_covers_in_pixels_of_a_wide_image():
    heat = np.zeros((10, 20), dtype=np.float32)
    heat[1:3, 15:20] = 0.8
    (region,) = find(heat, (100, 400))
    assert region.box_xyxy == (300, 10, 400, 30)
    assert region.place == "top right"
    assert region.strength == pytest.approx(0.8)
    assert region.area == pytest.approx(10 / 200)


def test_a_second_defect_is_named_whole_beside_a_much_stronger_one():
    heat = np.zeros((9, 9), dtype=np.float32)
    heat[0, 0], heat[6:8, 6:8] = 10.0, 1.0
    assert [r.place for r in find(heat, (90, 90))] == ["top left", "bottom right"]
    assert find(heat, (90, 90))[1].box_xyxy == (60, 60, 80, 80)
    faint = heat * np.float32(0.05)
    assert [r.place for r in regions.find_regions(faint, faint, (90, 90), region_share=0.5)] == ["top left"]


def test_areas_up_to_the_mass_that_normals_have_are_left_out():
    heat = np.zeros((9, 9), dtype=np.float32)
    heat[0, 0], heat[6:8, 6:8] = 3.0, 1.0
    masses = sorted(regions.odd_areas(heat)[1])
    assert masses == [3.0, 4.0]
    assert [r.place for r in find(heat, (90, 90), above=3.0)] == ["bottom right"]
    assert find(heat, (90, 90), above=4.0) == ()


def test_the_first_region_is_the_area_whose_look_is_measured():
    heat = np.zeros((12, 12), dtype=np.float32)
    heat[1, 1], heat[1, 2:8], heat[8:11, 8:11] = 1.0, 0.25, 0.7
    pixels = np.full((120, 120, 3), 128, dtype=np.uint8)
    pixels[85:105, 85:105] = 40
    found = find(heat, (120, 120))
    assert [region.place for region in found] == ["bottom right", "top left"]
    assert measure_look(pixels, heat).place == found[0].place
    assert found[1].box_xyxy == (10, 10, 20, 20)  # faint patches beside a peak belong to its mass, not to its box


def test_each_area_is_one_connected_piece_around_what_holds_most_of_it():
    rng = np.random.default_rng(0)
    for _ in range(20):
        heat = np.clip(rng.normal(0, 1, (14, 17)), 0, None).astype(np.float32)
        labels, masses = regions.odd_areas(heat)
        whole, count = regions.label_components(heat > 0)
        assert len(masses) == labels.max() == count
        for index in range(1, count + 1):
            inside = labels == index
            assert regions.label_components(inside)[1] == 1
            (owner,) = np.unique(whole[inside])
            assert masses[index - 1] == pytest.approx(heat[whole == owner].sum(), rel=1e-5)


def test_patches_that_touch_at_a_corner_are_one_region():
    mask = np.zeros((5, 5), dtype=bool)
    mask[[0, 1, 4], [0, 1, 4]] = True
    assert regions.label_components(mask)[1] == 2


def test_a_calm_map_has_no_region():
    assert find(np.zeros((6, 6), dtype=np.float32), (60, 60)) == ()


def test_boxes_stay_inside_the_image():
    (region,) = find(np.ones((7, 7), dtype=np.float32), (101, 53))
    assert region.box_xyxy == (0, 0, 53, 101)
    assert region.place == "center"
