import numpy as np
import pytest

from reason_iad.evidence import regions
from reason_iad.evidence.looks import measure_look


def test_a_blob_gets_the_box_it_covers_in_pixels_of_a_wide_image():
    anomaly_map = np.zeros((10, 20), dtype=np.float32)
    anomaly_map[1:3, 15:20] = 0.8
    (region,) = regions.find_regions(anomaly_map, (100, 400))
    assert region.box_xyxy == (300, 10, 400, 30)
    assert region.place == "top right"
    assert region.strength == pytest.approx(0.8)
    assert region.area == pytest.approx(10 / 200)


def test_a_faint_area_beside_a_strong_one_is_left_out():
    anomaly_map = np.zeros((9, 9), dtype=np.float32)
    anomaly_map[0, 0], anomaly_map[8, 8], anomaly_map[8, 0] = 1.0, 0.3, 0.6
    assert [r.place for r in regions.find_regions(anomaly_map, (90, 90))] == ["top left", "bottom left"]


def test_the_first_region_is_the_area_whose_look_is_measured():
    anomaly_map = np.zeros((12, 12), dtype=np.float32)
    anomaly_map[1, 1], anomaly_map[1, 3:9], anomaly_map[8:11, 8:11] = 1.0, 0.25, 0.7  # joined faintly: no part of it
    pixels = np.full((120, 120, 3), 128, dtype=np.uint8)
    pixels[85:105, 85:105] = 40
    look = measure_look(pixels, anomaly_map, anomaly_map)
    found = regions.find_regions(anomaly_map, (120, 120))
    assert [region.place for region in found] == ["bottom right", "top left"]
    assert look.place == found[0].place
    assert found[1].box_xyxy == (10, 10, 20, 20)


def test_patches_that_touch_at_a_corner_are_one_region():
    mask = np.zeros((5, 5), dtype=bool)
    mask[[0, 1, 4], [0, 1, 4]] = True
    assert regions.label_components(mask)[1] == 2
    assert regions.largest_area(mask) == 2 / 25


def test_a_calm_map_has_no_region():
    assert regions.find_regions(np.full((6, 6), 0.1, dtype=np.float32), (60, 60)) == ()
    assert regions.largest_area(np.zeros((6, 6), dtype=bool)) == 0.0


def test_boxes_stay_inside_the_image():
    anomaly_map = np.ones((7, 7), dtype=np.float32)
    (region,) = regions.find_regions(anomaly_map, (101, 53))
    assert region.box_xyxy == (0, 0, 53, 101)
    assert region.place == "center"
