"""The bundled towers against independent ways of computing the same features."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reason_iad import weights
from reason_iad.errors import ModelError
from reason_iad.images import Pixels
from reason_iad.models.vision import BundledVision

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    """Smooth random colors, so that resizing keeps something."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR))


def square(pixels: Pixels, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def reference(vision: BundledVision, folder: Path) -> torch.nn.Module:
    """Transformers' model with the same weights, read from a file: their names differ by release."""
    from safetensors.torch import save_file
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=384, num_attention_heads=6, num_hidden_layers=12, mlp_ratio=1, image_size=56, patch_size=14
    )
    config.save_pretrained(folder)
    save_file(vision.transformer.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return Dinov2Model.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def vision() -> BundledVision:
    return BundledVision.random()


def test_vit_gives_transformers_hidden_states_without_the_class_token(vision: BundledVision, tmp_path: Path) -> None:
    images = [noise(50, 80, 1), noise(64, 40, 2)]
    found = vision.vit(images, 56, [0, 5, 12])
    x = np.stack([(square(pixels, 56) / 255 - MEAN) / STD for pixels in images])
    with torch.no_grad():
        states = reference(vision, tmp_path)(torch.from_numpy(x).permute(0, 3, 1, 2).float(), output_hidden_states=True)
    assert len(states.hidden_states) == 13
    for layer in (0, 5):
        expected = states.hidden_states[layer][:, 1:].reshape(2, 4, 4, 384)
        torch.testing.assert_close(found[layer], expected, atol=1e-4, rtol=1e-4)
    # the last entry of transformers' tuple may be after the final norm, by version; norming ours must give its output
    normed = vision.transformer.layernorm(found[12])  # type: ignore[operator]
    torch.testing.assert_close(normed, states.last_hidden_state[:, 1:].reshape(2, 4, 4, 384), atol=1e-4, rtol=1e-4)


def test_vit_patches_are_in_reading_order(vision: BundledVision) -> None:
    plain = np.full((56, 56, 3), 120, np.uint8)
    marked = plain.copy()
    marked[14:28, 42:56] = (255, 0, 0)  # row 1, column 3
    features = vision.vit([plain, marked], 56, [0])[0]
    moved = (features[0] - features[1]).norm(dim=-1)
    assert [tuple(place) for place in moved.nonzero().tolist()] == [(1, 3)]


def test_vit_runs_only_the_layers_it_needs(vision: BundledVision) -> None:
    ran: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
        for index, layer in enumerate(vision.transformer.encoder.layer)  # type: ignore[union-attr,arg-type]
    ]
    vision.vit([noise(28, 28)], 28, [3, 1])
    for hook in hooks:
        hook.remove()
    assert ran == [0, 1, 2]


def test_vit_takes_sizes_other_than_its_training_size(vision: BundledVision) -> None:
    assert vision.vit([noise(30, 30)], 98, [2])[2].shape == (1, 7, 7, 384)


def test_efficientnet_sees_images_scaled_around_127(vision: BundledVision) -> None:
    images = [noise(70, 90, 3), noise(48, 48, 4)]
    found = vision.efficientnet(images, 64)
    x = np.stack([(square(pixels, 64) - 127) / 128 for pixels in images])
    with torch.no_grad():
        expected = vision.convolutional(torch.from_numpy(x).permute(0, 3, 1, 2).float())
    assert found[8].shape == (2, 8, 8, 40)
    assert found[16].shape == (2, 4, 4, 112)
    for stride in (8, 16):
        torch.testing.assert_close(found[stride], expected[stride].permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)


def test_many_images_give_what_each_gives_alone(vision: BundledVision) -> None:
    images = [noise(40, 40, seed) for seed in range(11)]  # more than one batch
    together, layers = vision.efficientnet(images, 32), vision.vit(images, 28, [4])
    for index in (0, 7, 8, 10):
        alone = vision.efficientnet([images[index]], 32)
        torch.testing.assert_close(together[16][index], alone[16][0], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(layers[4][index], vision.vit([images[index]], 28, [4])[4][0], atol=1e-4, rtol=1e-4)


def test_features_can_feed_a_layer_in_training(vision: BundledVision) -> None:
    """Tensors made in inference mode would be refused by backward."""
    for features in (vision.vit([noise(28, 28)], 28, [2])[2], vision.efficientnet([noise(32, 32)], 32)[16]):
        assert features.is_contiguous()
        assert not features.requires_grad
        layer = torch.nn.Linear(features.shape[-1], 2)
        layer(features).sum().backward()
        assert layer.weight.grad is not None


def test_bfloat16_products_give_nearly_the_same_features_in_float32(vision: BundledVision) -> None:
    halved = BundledVision(copy.deepcopy(vision.transformer), copy.deepcopy(vision.convolutional), halved=True)
    images = [noise(64, 64, 1)]
    for exact, found in (
        (vision.vit(images, 56, [7])[7], halved.vit(images, 56, [7])[7]),
        (vision.efficientnet(images, 64)[16], halved.efficientnet(images, 64)[16]),
    ):
        assert found.dtype == torch.float32
        assert 0 < (found - exact).norm() / exact.norm() < 0.05  # 0.4 % a number, and 12 random layers


def test_seed_decides_the_random_towers_and_nothing_else(vision: BundledVision) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again, other = BundledVision.random(0), BundledVision.random(1)
    torch.testing.assert_close(torch.rand(3), expected)
    image = [noise(32, 32)]
    features = vision.efficientnet(image, 32)[16]
    torch.testing.assert_close(again.efficientnet(image, 32)[16], features, atol=0, rtol=0)
    assert not torch.allclose(other.efficientnet(image, 32)[16], features)


def test_random_features_differ_between_patches_and_stay_finite(vision: BundledVision) -> None:
    image = [noise(64, 64)]
    for features in (*vision.vit(image, 56, [0, 12]).values(), *vision.efficientnet(image, 64).values()):
        spread = features.flatten(0, 2).std(0).mean()
        assert torch.isfinite(features).all()
        assert 1e-3 < spread < 100


@pytest.mark.parametrize("size", [0, 13, 57, -14])
def test_size_that_does_not_divide_is_refused(vision: BundledVision, size: int) -> None:
    with pytest.raises(ModelError, match=f"input size {size}; expected a multiple of 14"):
        vision.vit([noise(28, 28)], size, [1])
    with pytest.raises(ModelError, match=f"input size {size}; expected a multiple of 16"):
        vision.efficientnet([noise(28, 28)], size)


@pytest.mark.parametrize("layer", [-1, 13])
def test_layer_that_does_not_exist_is_refused(vision: BundledVision, layer: int) -> None:
    with pytest.raises(ModelError, match="expected hidden states 0 to 12"):
        vision.vit([noise(28, 28)], 28, [1, layer])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_wrong_pixels_are_refused(vision: BundledVision, image: Pixels) -> None:
    for call in (lambda: vision.vit([image], 28, [1]), lambda: vision.efficientnet([image], 32)):
        with pytest.raises(ModelError, match="expected uint8 RGB"):
            call()


def test_no_image_is_refused(vision: BundledVision) -> None:
    with pytest.raises(ModelError, match="no image"):
        vision.efficientnet([], 32)


@pytest.fixture(scope="module")
def bundled() -> BundledVision:
    states = weights.verify(["vit-s14", "efficientnet-lite0"], full=False)
    if any(status.state != "cached" for status in states):
        pytest.skip("the bundled weights are not in the cache: run `reason-iad weights fetch`")
    return BundledVision.load()


@pytest.mark.weights
def test_bundled_convolutions_match_a_shifted_part(bundled: BundledVision) -> None:
    """A crop moved by one stride finds its own patches one step aside: trained features, in the right places."""
    picture = noise(400, 400, 7)
    generator = np.random.default_rng(0)
    for _ in range(60):  # small marks to hold on to
        y, x = generator.integers(0, 380, 2)
        picture[y : y + 9, x : x + 9] = generator.integers(0, 256, 3)
    first, second = picture[:320, :320], picture[16:336, :320]
    features = bundled.efficientnet([first, second], 320)[16]
    features = torch.nn.functional.normalize(features, dim=-1)
    inner = slice(4, 15)
    for row in range(4, 15):
        similarity = features[1, row, inner] @ features[0, row - 1 : row + 4, inner].flatten(0, 1).T
        best = similarity.argmax(-1)
        expected = torch.arange(11) + 2 * 11  # the row below: row + 1 of rows row - 1 ... row + 3
        assert (best == expected).float().mean() > 0.7


@pytest.mark.weights
def test_bundled_vit_depends_on_position_and_content(bundled: BundledVision) -> None:
    features = bundled.vit([noise(224, 224, 1), noise(224, 224, 2)], 224, [0, 7, 12])
    assert {tuple(value.shape) for value in features.values()} == {(2, 16, 16, 384)}
    assert all(torch.isfinite(value).all() for value in features.values())
    assert (features[7][0] - features[7][1]).abs().mean() > 0.01


@pytest.mark.weights
def test_loading_prints_nothing(bundled: BundledVision, capfd: pytest.CaptureFixture[str]) -> None:
    BundledVision.load()
    assert capfd.readouterr() == ("", "")
