"""Masks in every form that data sets and drawing tools write: the same square is marked in all of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reason_iad.datasets.masks import join_masks, read_mask, resample

SQUARE = np.zeros((40, 60), bool)
SQUARE[10:20, 30:50] = True
BYTES = np.where(SQUARE, 255, 0).astype(np.uint8)


def rgba(color_inside, color_outside):
    pixels = np.empty((40, 60, 4), np.uint8)
    pixels[...] = color_outside
    pixels[SQUARE] = color_inside
    return Image.fromarray(pixels)


def palette(*colors):
    image = Image.fromarray(SQUARE.astype(np.uint8), "P")
    image.putpalette([channel for color in colors for channel in color])
    return image


FORMS = {
    "bright": Image.fromarray(BYTES),
    "ones": Image.fromarray(SQUARE.astype(np.uint8)),
    "bits": Image.fromarray(SQUARE),
    "sixteen_bits": Image.fromarray(SQUARE.astype(np.uint16) * 3),
    "red": Image.fromarray(np.stack([BYTES, BYTES * 0, BYTES * 0], -1)),
    "white_on_transparent": rgba((255, 255, 255, 255), (0, 0, 0, 0)),
    "white_on_transparent_white": rgba((255, 255, 255, 255), (255, 255, 255, 0)),
    "black_on_transparent": rgba((0, 0, 0, 255), (255, 255, 255, 0)),
    "half_transparent_red": rgba((255, 0, 0, 120), (0, 0, 0, 0)),
    "opaque_with_alpha": rgba((255, 255, 255, 255), (0, 0, 0, 255)),
    "white_on_black_beside_transparent": rgba((255, 255, 255, 255), (0, 0, 0, 254)),
    "gray_and_alpha": Image.merge("LA", [Image.fromarray(BYTES), Image.fromarray(BYTES)]),
    "palette_black_red": palette((0, 0, 0), (255, 0, 0)),
    "palette_gray_red": palette((90, 90, 90), (255, 0, 0)),
    "palette_all_black": palette((0, 0, 0), (0, 0, 0)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_square_is_marked_in_every_form(form, tmp_path):
    FORMS[form].save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png")
    assert (found.marked == SQUARE).all(), found.how
    assert found.fault == ""


def test_a_palette_with_a_transparent_ground_is_read_by_what_is_visible(tmp_path):
    palette((255, 255, 255), (255, 255, 255)).save(tmp_path / "mask.png", transparency=0)
    assert (read_mask(tmp_path / "mask.png").marked == SQUARE).all()


def test_the_blur_of_a_lossy_mask_is_not_marked(tmp_path):
    Image.fromarray(BYTES).save(tmp_path / "mask.jpg", quality=30)
    assert (np.asarray(Image.open(tmp_path / "mask.jpg")) > 0).sum() > 1.5 * SQUARE.sum()
    found = read_mask(tmp_path / "mask.jpg")
    assert abs(int(found.marked.sum()) - int(SQUARE.sum())) <= 8
    assert "JPEG" in found.how


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_without_exif_is_turned_with_its_image_where_their_shapes_say_so(orientation, tmp_path):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(BYTES).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(BYTES).save(tmp_path / "mask.png")
    Image.fromarray(BYTES).save(tmp_path / "own.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "image.png"))) > 0
    own = read_mask(tmp_path / "own.png", tmp_path / "image.png")
    assert (own.marked == upright).all()
    found = read_mask(tmp_path / "mask.png", tmp_path / "image.png")
    if orientation >= 5:
        assert (found.marked == upright).all()
        assert "EXIF of its image" in found.how
        Image.fromarray(BYTES[:, :40][:40].copy()).save(tmp_path / "mask.png")
    elif orientation > 1:
        assert "taken for after" in found.fault


def test_a_mask_drawn_on_the_upright_image_is_left_as_it_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(BYTES.T.copy()).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(BYTES).save(tmp_path / "mask.png")
    found = read_mask(tmp_path / "mask.png", tmp_path / "image.png")
    assert (found.marked == SQUARE).all()
    assert found.fault == ""


def test_a_smaller_mask_of_the_same_shape_is_scaled_and_one_of_another_shape_is_not_used(tmp_path):
    Image.fromarray(BYTES).save(tmp_path / "mask.png")
    Image.new("L", (120, 80)).save(tmp_path / "large.png")
    Image.new("L", (120, 120)).save(tmp_path / "square.png")
    found = read_mask(tmp_path / "mask.png", tmp_path / "large.png")
    assert "scaled from 60 x 40" in found.how
    assert resample(found.marked, (80, 120)).sum() == 4 * SQUARE.sum()
    other = read_mask(tmp_path / "mask.png", tmp_path / "square.png")
    assert other.marked is None
    assert "60 x 40 pixels and the image 120 x 120" in other.fault


def test_empty_inverted_and_broken_masks_are_named(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "empty.png")
    Image.fromarray(255 - BYTES // 255 * 255).save(tmp_path / "inverted.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert "marks nothing" in read_mask(tmp_path / "empty.png").fault
    assert "is it inverted?" in read_mask(tmp_path / "inverted.png").fault
    assert "cannot be read" in read_mask(tmp_path / "broken.png").fault


def test_several_masks_of_one_image_are_joined_at_one_size(tmp_path):
    Image.fromarray(BYTES).save(tmp_path / "a.png")
    Image.fromarray(BYTES[::2, ::2][:, ::-1].copy()).save(tmp_path / "b.png")
    whole = join_masks([read_mask(tmp_path / "a.png"), read_mask(tmp_path / "b.png")])
    assert whole.shape == (40, 60)
    assert whole.sum() == pytest.approx(2 * SQUARE.sum(), rel=0.05)
