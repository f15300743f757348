"""ResNet-50 against a plain NumPy forward pass, on weights of torchvision's names and shapes."""

import jax
import numpy as np
import pytest
from plain_layers import alike, convolve, max_pool_3x3, normalise

from dsh_jax.network import backbones
from dsh_jax.network.resnet import BLOCKS, FEATURES, MEAN, SPREAD, ResNet50


def state_dict():
    """Return weights as torchvision's `resnet50().state_dict()` names and shapes them."""
    generator, arrays = np.random.default_rng(0), {}

    def conv(name, filters, channels, side):
        spread = (2 / (channels * side * side)) ** 0.5
        weight = spread * generator.normal(size=(filters, channels, side, side))
        arrays[f"{name}.weight"] = weight.astype(np.float32)

    def norm(name, channels):
        for leaf, low, high in (
            ("weight", 0.5, 1),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 2),
        ):
            value = generator.uniform(low, high, channels)
            arrays[f"{name}.{leaf}"] = value.astype(np.float32)
        arrays[f"{name}.num_batches_tracked"] = np.array(7)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    channels = 64
    for stage, blocks in enumerate(BLOCKS):
        width = 64 * 2**stage
        for i in range(blocks):
            name = f"layer{stage + 1}.{i}"
            for number, (filters, inputs, side) in enumerate(
                ((width, channels, 1), (width, width, 3), (4 * width, width, 1)), start=1
            ):
                conv(f"{name}.conv{number}", filters, inputs, side)
                norm(f"{name}.bn{number}", filters)
            if not i:
                conv(f"{name}.downsample.0", 4 * width, channels, 1)
                norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    arrays["fc.weight"], arrays["fc.bias"] = np.zeros((1000, 2048)), np.zeros(1000)
    return arrays


def plain_forward(arrays, image_BxHxWx3):
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def layer(x, conv, norm, stride=1):
        x = convolve(x, arrays[f"{conv}.weight"], stride, alike)
        return normalise(x, arrays, norm, 1e-5)

    x = ((image_BxHxWx3.astype(np.float64) - MEAN) / SPREAD).transpose(0, 3, 1, 2)
    x = max_pool_3x3(np.maximum(layer(x, "conv1", "bn1", 2), 0))
    for stage in range(1, 5):
        i = 0
        while f"layer{stage}.{i}.conv1.weight" in arrays:
            name = f"layer{stage}.{i}"
            stride = 2 if stage > 1 and not i else 1
            y = np.maximum(layer(x, f"{name}.conv1", f"{name}.bn1"), 0)
            y = np.maximum(layer(y, f"{name}.conv2", f"{name}.bn2", stride), 0)
            y = layer(y, f"{name}.conv3", f"{name}.bn3")
            if f"{name}.downsample.0.weight" in arrays:
                x = layer(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = np.maximum(x + y, 0)
            i += 1
    return x.mean(axis=(2, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("resnet") / "resnet50.npz"
    np.savez(path, **state_dict())
    return path


@pytest.mark.parametrize("sides", [(64, 64), (50, 75)])
def test_features_are_those_of_a_plain_forward_pass(weights, sides):
    image = np.random.default_rng(1).uniform(size=(2, *sides, 3)).astype(np.float32)
    actual = jax.jit(ResNet50().apply)(backbones.load("resnet50", weights), image)
    expected = plain_forward(state_dict(), image)
    assert actual.shape == (2, FEATURES)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weights_are_the_users(weights):
    assert backbones.provenance("resnet50", weights)["licence"] == "the user's"
    with pytest.raises(ValueError, match="resnet50 are not ours to give: pass a file"):
        backbones.load("resnet50")


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    arrays = state_dict()
    del arrays["layer4.2.bn3.bias"]
    arrays["layer3.6.conv1.weight"] = np.zeros((256, 1024, 1, 1))
    np.savez(tmp_path / "deeper.npz", **arrays)
    with pytest.raises(ValueError, match=r"deeper\.npz for resnet50 do not fit") as error:
        backbones.load("resnet50", tmp_path / "deeper.npz")
    assert "missing: layer4.2.bn3.bias; left over: layer3.6.conv1.weight" in str(error.value)
