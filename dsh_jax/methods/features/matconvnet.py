"""Weights from the .mat files of MatConvNet."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io
from etils import epath

from dsh_jax.methods.features.vggf import NORM, SIDE, VGGF

_WANTED = (
    "take imagenet-vgg-f.mat from the page of pretrained models of the MatConvNet project, or "
    "compute fc7 elsewhere and load it with features.load_features"
)


def load_vggf(path: epath.PathLike) -> tuple[dict[str, Any], np.ndarray]:
    """Read imagenet-vgg-f.mat, the weights published with MatConvNet.

    Kernels stand there as they do in Linen (height, width, in, out), for RGB images.

    Args:
      path: of the file; `weights` or `filters` and `biases` in each layer, `averageImage` under
        `meta.normalization` or `normalization`.

    Returns:
      (variables of `VGGF`, mean_224x224x3), float32.

    Raises:
      ValueError: where the file is not there, cannot be read, or holds another network.
    """
    path = epath.Path(path).expanduser()
    net = _read(path)
    layers = {layer["name"]: layer for layer in _layers(net, path)}
    for name in ("norm1", "norm2"):
        norm = layers.get(name, {}).get("param", NORM)
        if not np.allclose(norm, NORM):
            raise ValueError(
                f"{path}: {name} has the parameters {np.ravel(norm).tolist()}, wanted "
                f"{list(NORM)} (Caffe writes alpha five times as large); {_WANTED}"
            )
    mean_224x224x3 = _mean_image(net, path)
    shapes = jax.eval_shape(VGGF().init, jax.random.PRNGKey(0), jnp.zeros((1, SIDE, SIDE, 3)))
    params = {}
    for name, wanted in shapes["params"].items():
        if name not in layers:
            raise ValueError(
                f"{path} has no layer {name}, but {', '.join(layers)}; it is no VGG-F: {_WANTED}"
            )
        kernel, bias = _weights(layers[name], name, path)
        # Axes of 1, such as those of fc7, are not kept by all writers.
        if np.squeeze(kernel).shape != tuple(n for n in wanted["kernel"].shape if n > 1):
            raise ValueError(
                f"{path}: {name} has the shape {_times(kernel.shape)}, that of VGG-F is "
                f"{_times(wanted['kernel'].shape)}; it is another network: {_WANTED}"
            )
        if bias.size != wanted["bias"].size:
            raise ValueError(
                f"{path}: {name} has {bias.size} biases, wanted {wanted['bias'].size}; {_WANTED}"
            )
        params[name] = {
            leaf: np.ascontiguousarray(value, np.float32).reshape(wanted[leaf].shape)
            for leaf, value in (("kernel", kernel), ("bias", bias))
        }
    return {"params": params}, mean_224x224x3


def _read(path) -> dict[str, Any]:
    """The network of a .mat file: structs are dicts, cells are lists."""
    if not path.exists():
        raise ValueError(f"{path} is not there: {_WANTED}")
    try:
        with path.open("rb") as file:
            found = scipy.io.loadmat(file, simplify_cells=True)
    except Exception as error:  # scipy raises all sorts on a damaged file
        raise ValueError(
            f"{path} cannot be read ({error}); save it in MATLAB with the option -v7, or {_WANTED}"
        ) from error
    return found.get("net", found)  # some save it as one variable


def _layers(net, path) -> list[Mapping[str, Any]]:
    """The layers, in their order."""
    names = ", ".join(sorted(name for name in net if not name.startswith("__"))) or "nothing"
    layers = net.get("layers")
    layers = [layers] if isinstance(layers, dict) else layers
    if layers is None:
        raise ValueError(f"{path} holds {names}; wanted `layers`: {_WANTED}")
    is_simple = all(isinstance(layer, dict) and "name" in layer for layer in layers)
    if not is_simple or any("block" in layer for layer in layers):
        raise ValueError(
            f"{path} holds {names}, whose `layers` are not those of a SimpleNN (a DagNN?); wanted "
            f"a cell array of structs with `name` and `weights`: {_WANTED}"
        )
    return layers


def _weights(layer, name, path) -> tuple[np.ndarray, np.ndarray]:
    """The filters and the biases of a layer."""
    if "filters" in layer and "biases" in layer:  # in older files
        return np.asarray(layer["filters"]), np.asarray(layer["biases"])
    weights = layer.get("weights", ())
    if len(weights) != 2:
        raise ValueError(
            f"{path}: {name} has the fields {', '.join(layer)} and {len(weights)} weights; wanted "
            f"`weights` of filters and biases, or `filters` and `biases`: {_WANTED}"
        )
    return np.asarray(weights[0]), np.asarray(weights[1])


def _mean_image(net, path) -> np.ndarray:
    """The mean image, or an image of the mean colour."""
    parent = net.get("meta", net)  # older files have no `meta`
    mean = np.asarray(parent.get("normalization", {}).get("averageImage", ()), np.float32)
    if mean.shape not in ((SIDE, SIDE, 3), (3,)):
        raise ValueError(
            f"{path} has a mean image of shape {mean.shape}; wanted ({SIDE}, {SIDE}, 3) under "
            f"meta.normalization.averageImage or normalization.averageImage: {_WANTED}"
        )
    return np.broadcast_to(mean, (SIDE, SIDE, 3)).copy()


def _times(shape) -> str:
    return "×".join(map(str, shape))
