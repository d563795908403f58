"""Our image processors in the place of those of transformers that need torchvision.

Expected values are what transformers' own class gave with torchvision 0.28 (transformers 5.24).
"""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.models.pillow_processors import Lfm2VlImageProcessorPil

PINNED = {  # height and width: rows and columns of tiles, size alone or of the thumbnail, parts, patches that are real
    (768, 1024): ((2, 3), (416, 576), 7, 7080),
    (1080, 1920): ((2, 4), (384, 672), 9, 9200),
    (201, 77): ((1, 1), (416, 160), 1, 260),
    (2048, 1531): ((3, 2), (576, 416), 7, 7080),
    (700, 700): ((1, 1), (512, 512), 1, 1024),
    (40, 1900): ((1, 1), (64, 1792), 1, 448),
    (1600, 1600): ((3, 3), (512, 512), 10, 10240),
    (730, 719): ((1, 1), (512, 480), 1, 960),
}


@pytest.mark.parametrize("image_hw", PINNED)
def test_tiles_and_sizes_of_lfm2_vl_are_those_of_transformers_own_class(image_hw) -> None:
    grid, size, parts, real = PINNED[image_hw]
    made = Lfm2VlImageProcessorPil()(
        [np.full((*image_hw, 3), 90, dtype=np.uint8)], return_row_col_info=True, return_tensors="pt"
    )
    assert (int(made["image_rows"][0]), int(made["image_cols"][0])) == grid
    assert tuple(int(n) for n in made["image_sizes"][0]) == size
    assert made["pixel_values"].shape == (parts, 1024, 768)
    assert int(made["pixel_attention_mask"].sum()) == real == int(made["spatial_shapes"].prod(dim=1).sum())
    color = (90 / 255 - 0.5) / 0.5
    np.testing.assert_allclose(made["pixel_values"][made["pixel_attention_mask"] == 1], color, atol=1e-6)
    assert not made["pixel_values"][made["pixel_attention_mask"] == 0].any()


def test_a_tile_of_lfm2_vl_shows_its_part_of_the_image() -> None:
    picture = np.zeros((1024, 1536, 3), dtype=np.uint8)  # two rows and three columns of tiles, nothing stretched
    picture[512:, 1024:, 0] = 255  # the last tile is red
    made = Lfm2VlImageProcessorPil()([picture], return_row_col_info=True, return_tensors="np")
    red = made["pixel_values"].reshape(7, 1024, 16, 16, 3)[..., 0]
    assert [bool((tile == 1).all()) for tile in red[:6]] == [False] * 5 + [True]
    assert (red[:5] == -1).all()
    assert 0 < (red[6] == 1).mean() < 0.2  # the thumbnail


def test_the_stored_settings_are_those_that_transformers_reads(tmp_path) -> None:
    Lfm2VlImageProcessorPil(tile_size=256).save_pretrained(tmp_path)
    assert '"Lfm2VlImageProcessor"' in (tmp_path / "preprocessor_config.json").read_text(encoding="utf-8")
    assert Lfm2VlImageProcessorPil.from_pretrained(tmp_path).tile_size == 256
