"""VGG-F and the reader of its weights, against plain numpy and on weights that no one trained."""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from dsh_jax.methods.features import matconvnet, vggf

# Name to height, width, channels in, channels out, stride and padding.
LAYERS = {
    "conv1": (11, 11, 3, 64, 4, 0),
    "conv2": (5, 5, 64, 256, 1, 2),
    "conv3": (3, 3, 256, 256, 1, 1),
    "conv4": (3, 3, 256, 256, 1, 1),
    "conv5": (3, 3, 256, 256, 1, 1),
    "fc6": (6, 6, 256, 4096, 1, 0),
    "fc7": (1, 1, 4096, 4096, 1, 0),
}
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


# Weights as MATLAB writes them.


@pytest.fixture(scope="module")
def weights():
    """Name to (filters, biases), which keep the size of the activations."""
    found = {}
    for name, (height, width, channels, filters, _, _) in LAYERS.items():
        shape = (height, width, channels, filters)
        spread = np.sqrt(2 / np.prod(shape[:3])).astype(np.float32)
        kernel = RNG.standard_normal(shape, np.float32) * spread
        found[name] = kernel, RNG.standard_normal((1, filters), np.float32)
    return found


@pytest.fixture(scope="module")
def mean_image():
    return RNG.uniform(90, 130, (224, 224, 3)).astype(np.float32)


def cells(items):
    """A row of a MATLAB cell array."""
    cell = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        cell[0, i] = item
    return cell


def layers_of(weights, *, old=False):
    """The `layers` of MatConvNet's file, in its form of today or its first one."""
    layers = []
    for name, (kernel, bias) in weights.items():
        layer = {"name": name, "type": "conv"}
        layer |= {"filters": kernel, "biases": bias} if old else {"weights": cells([kernel, bias])}
        layers += [layer, {"name": f"relu{name[-1]}", "type": "relu"}]
        if name in ("conv1", "conv2"):
            norm = {"name": f"norm{name[-1]}", "type": "normalize"}
            layers.append(norm | {"param": np.array([[5, 2, 1e-4, 0.75]])})
    layers.append({"name": "prob", "type": "softmax"})
    return cells(layers)


@pytest.fixture(scope="module")
def file(weights, mean_image, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "imagenet-vgg-f.mat"
    meta = {"normalization": {"averageImage": mean_image, "imageSize": [[224.0, 224, 3, 10]]}}
    scipy.io.savemat(path, {"layers": layers_of(weights), "meta": meta})
    return path


@pytest.fixture(scope="module")
def loaded(file):
    return matconvnet.load_vggf(file)


# The network in plain numpy, in float64.


def convolved(x, kernel, bias, stride, pad):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = kernel.shape[:2]
    patches = sliding_window_view(x, (height, width), (1, 2))[:, ::stride, ::stride]
    return np.einsum("byxcij,ijcf->byxf", patches, kernel.astype(np.float64), optimize=True) + bias


def normalised(x):
    """Caffe's form: alpha = 5e-4 over n = 5."""
    padded = np.pad(x**2, ((0, 0), (0, 0), (0, 0), (2, 2)))
    total = sum(padded[..., i : i + x.shape[-1]] for i in range(5))
    return x / (2 + 5e-4 / 5 * total) ** 0.75


def pooled(x):
    """3×3, stride 2, a window more where one would be cut off."""
    starts = 2 * np.arange(int(np.ceil((x.shape[1] - 3) / 2)) + 1)
    x = np.stack([x[:, start : start + 3].max(1) for start in starts], 1)
    return np.stack([x[:, :, start : start + 3].max(2) for start in starts], 2)


def forward(weights, x):
    for name, (*_, stride, pad) in LAYERS.items():
        x = np.maximum(convolved(x, *weights[name], stride, pad), 0)
        if name in ("conv1", "conv2"):
            x = normalised(x)
        if name in ("conv1", "conv2", "conv5"):
            x = pooled(x)
    return x.reshape(len(x), -1)


@pytest.fixture(scope="module")
def fc7(loaded):
    """fc7 of IMAGE."""
    return np.asarray(vggf.fc7(*loaded, IMAGE))


def test_fc7_is_that_of_plain_numpy(fc7, weights, mean_image):
    wanted = forward(weights, IMAGE.astype(np.float64) - mean_image)
    assert wanted.shape == (2, 4096)
    assert fc7.dtype == np.float32
    assert 0.2 < (wanted > 0).mean() < 0.8  # after the ReLU
    np.testing.assert_allclose(fc7, wanted, rtol=1e-3, atol=1e-4 * wanted.max())


def test_colours_and_axes_have_their_order(fc7, loaded):
    for other in (IMAGE[..., ::-1], IMAGE[:, ::-1], IMAGE[:, :, ::-1], IMAGE.swapaxes(1, 2)):
        moved = np.asarray(vggf.fc7(*loaded, other))
        assert np.abs(moved - fc7).max() > 0.05 * fc7.max()


# The parts.


def test_a_pool_has_a_last_window_that_passes_the_edge():
    x = np.arange(6, dtype=np.float32)[None, :, None, None] - 10 + np.zeros((1, 6, 6, 1))
    # Windows of the rows 0-2, 2-4 and 4-5; beyond them lies -inf, not 0.
    np.testing.assert_array_equal(vggf.max_pool(x)[0, :, 0, 0], [-8, -6, -5])
    sides = {54: 27, 27: 13, 13: 6}
    for side, half in sides.items():
        assert vggf.max_pool(jnp.zeros((1, side, side, 1))).shape == (1, half, half, 1)


def test_local_response_normalisation_by_hand():
    x = np.array([100, 0, 200, 0, 0, 0, 300], np.float32)[None, None, None]
    sums = np.array([5, 5, 5, 13, 13, 9, 9]) * 1e4  # of the squares of channels c-2 … c+2
    np.testing.assert_allclose(
        vggf.local_response_norm(x)[0, 0, 0], x[0, 0, 0] / (2 + 1e-4 * sums) ** 0.75, rtol=1e-6
    )


def test_images_are_resized_and_grey_is_repeated(mean_image):
    # What is as large as the network wants is only shifted.
    np.testing.assert_array_equal(vggf.prepare(IMAGE, mean_image), IMAGE - mean_image)
    grey = IMAGE[:1, :28, :28, :1]
    prepared = np.asarray(vggf.prepare(grey, np.zeros_like(mean_image)))
    assert prepared.shape == (1, 224, 224, 3)
    np.testing.assert_array_equal(prepared[..., 0], prepared[..., 2])
    pillow = Image.fromarray(grey[0, :, :, 0].astype(np.float32))  # of floats: it does not round
    resized = pillow.resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(prepared[0, ..., 1], resized, atol=1e-3)


def test_other_images_are_refused(mean_image):
    with pytest.raises(ValueError, match="have 4 channels"):
        vggf.prepare(np.zeros((1, 8, 8, 4), np.uint8), mean_image)
    with pytest.raises(ValueError, match=r"wanted \[B, 224, 224, 3\]"):
        jax.eval_shape(vggf.VGGF().init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 32, 3)))


# The reader.


def test_weights_are_taken_as_they_stand(loaded, weights, mean_image):
    variables, mean = loaded
    np.testing.assert_array_equal(mean, mean_image)
    assert set(variables["params"]) == set(LAYERS)
    for name, (kernel, bias) in weights.items():
        np.testing.assert_array_equal(variables["params"][name]["kernel"], kernel)
        np.testing.assert_array_equal(variables["params"][name]["bias"], bias[0])


def test_older_files_are_read_too(loaded, weights, tmp_path):
    net = {
        "layers": layers_of(weights, old=True),
        "normalization": {"averageImage": np.array([123.0, 117, 104])[None, None]},
    }
    scipy.io.savemat(tmp_path / "old.mat", {"net": net})
    variables, mean = matconvnet.load_vggf(tmp_path / "old.mat")
    jax.tree.map(np.testing.assert_array_equal, variables, loaded[0])
    assert mean.shape == (224, 224, 3)
    np.testing.assert_array_equal(mean[100, 7], [123, 117, 104])


MEAN = {"normalization": {"averageImage": np.zeros((224, 224, 3))}}
FIRST = {"conv1": (np.zeros((11, 11, 3, 64)), np.zeros(64))}
DAG = {"name": "conv1", "type": "dagnn.Conv", "block": {"size": [11, 11, 3, 64]}}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"codes": np.zeros(3)}, "holds codes, meta; wanted `layers`"),
        ({"layers": cells([DAG, DAG]), "params": 1}, "whose `layers` are not those of a SimpleNN"),
        (
            {"layers": layers_of(FIRST), "meta": {"classes": 1}},
            r"has a mean image of shape \(0,\); wanted",
        ),
        (
            {"layers": layers_of(FIRST), "meta": {"normalization": {"averageImage": [[1.0, 2]]}}},
            r"has a mean image of shape \(2,\); wanted \(224, 224, 3\)",
        ),
        (
            {"layers": cells([{"name": "norm1", "param": [[5, 2, 5e-4, 0.75]]}] * 2)},
            r"norm1 has the parameters \[5.0, 2.0, 0.0005, 0.75\], wanted \[5, 2.0, 0.0001, 0.75\]",
        ),
        ({"layers": layers_of(FIRST)}, "has no layer conv2, but conv1, relu1, norm1, prob"),
        (
            {"layers": layers_of({"conv1": (np.zeros((7, 7, 3, 96)), np.zeros(96))})},
            "conv1 has the shape 7×7×3×96, that of VGG-F is 11×11×3×64",
        ),
        (
            {"layers": layers_of({"conv1": (FIRST["conv1"][0], np.zeros(63))})},
            "conv1 has 63 biases, wanted 64",
        ),
        (
            {"layers": cells([{"name": "conv1", "type": "conv", "stride": 4}] * 2)},
            "conv1 has the fields name, type, stride and 0 weights",
        ),
    ],
)
def test_another_file_is_refused(variables, message, tmp_path):
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, {"meta": MEAN} | variables)
    with pytest.raises(ValueError, match=message) as error:
        matconvnet.load_vggf(path)
    assert str(path) in str(error.value)
    assert "take imagenet-vgg-f.mat from the page of pretrained models" in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "net.mat"
    with pytest.raises(ValueError, match=r"net.mat is not there: take imagenet-vgg-f.mat"):
        matconvnet.load_vggf(path)
    for content in (b"", b"<html>not found</html>" * 20):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"net.mat cannot be read .*; save it in MATLAB"):
            matconvnet.load_vggf(path)
    with h5py.File(path, "w", userblock_size=512) as file:  # what MATLAB writes with -v7.3
        file["layers"] = np.zeros(3)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header + path.read_bytes()[128:])
    with pytest.raises(ValueError, match=r"HDF.*save it in MATLAB with the option -v7"):
        matconvnet.load_vggf(path)
