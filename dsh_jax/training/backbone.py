"""What a pretrained network gives a run: features of all rows, or the weights to begin with."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dsh_jax.augment import to_unit
from dsh_jax.data.images import ArrayImages, FeatureImages
from dsh_jax.data.source import Source
from dsh_jax.methods import features
from dsh_jax.methods.features.stored import stored
from dsh_jax.network import backbones
from dsh_jax.network.backbones import BACKBONES
from dsh_jax.network.pretrained import ENCODERS, FEATURES, resized

BATCH = 100
CACHE = "~/.cache/dsh_jax/features"


def sees_features(config: ConfigDict) -> bool:
    """Return whether training takes features in place of images.

    Args:
      config: of the run.

    Raises:
      ValueError: for settings that do not go together.
    """
    name, freeze = config.model.encoder, config.training.freeze
    if name not in ENCODERS:
        raise ValueError(f"model.encoder is {name!r}; it must be one of {', '.join(ENCODERS)}.")
    if freeze == "backbone" and name not in BACKBONES:
        raise ValueError(
            f"training.freeze is 'backbone', but model.encoder is {name!r}: only a pretrained "
            f"encoder has one ({', '.join(BACKBONES)})."
        )
    if bool(config.data.features_path) != (name == FEATURES):
        raise ValueError(
            f"model.encoder is {name!r} and data.features_path {config.data.features_path!r}: "
            f"set both, the first to {FEATURES!r}, or leave the second empty."
        )
    return name == FEATURES or freeze == "backbone"


def with_features(config: ConfigDict, source: Source) -> Source:
    """Return a source whose images are features, where training takes these.

    Args:
      config: of the run.
      source: its images.

    Returns:
      Source.

    Raises:
      ValueError: for missing or bad weights or features; see `sees_features`.
    """
    if not sees_features(config):
        return source
    name = config.model.encoder
    if name == FEATURES:
        feature_NxF = features.load_features(config.data.features_path, len(source))
        width = feature_NxF.shape[1]
        load = lambda: feature_NxF  # noqa: E731
    else:
        check_rgb(source, name)
        width = BACKBONES[name].features
        load = functools.partial(
            backbone_features,
            source,
            name,
            weights=config.model.weights,
            side=config.model.side,
            folder=config.data.cache_dir or CACHE,
        )
    images = FeatureImages(functools.cache(load), width, source.pictures, np.arange(len(source)))
    return dataclasses.replace(source, images=images)


def backbone_features(
    source: Source, name: str, *, weights: str, side: int, folder: epath.PathLike
) -> np.ndarray:
    """Return the features of every row of a source, computed once and kept in a file.

    Args:
      source: RGB images.
      name: one of `backbones.BACKBONES`.
      weights: file of its weights; empty for its package's.
      side: to which images are brought before it, pixels; 0 leaves them.
      folder: of the files.

    Returns:
      feature_NxF, float32.

    Raises:
      ValueError: for missing or bad weights.
    """
    sha256 = backbones.provenance(name, weights)["sha256"]
    key = hashlib.sha256(f"{sha256} {side} {_content(source)}".encode()).hexdigest()[:16]
    blocks_from = functools.partial(feature_blocks, source, name, weights=weights, side=side)
    file = epath.Path(folder).expanduser() / f"{source.name}-{name}-{side}-{key}.npy"
    return stored(file, len(source), BACKBONES[name].features, blocks_from)


def feature_blocks(
    source: Source, name: str, row: int = 0, *, weights: str, side: int, batch: int = BATCH
) -> Iterator[np.ndarray]:
    """Yield the features of a source's rows from a row on.

    Args:
      source, name, weights, side: see `backbone_features`.
      row: the first.
      batch: images at a time.

    Yields:
      float32 arrays of up to `batch` rows.

    Raises:
      ValueError: see `backbone_features`.
    """
    check_rgb(source, name)
    variables = backbones.load(name, weights)
    function = functools.partial(_features, BACKBONES[name].build(), side)
    rows = np.arange(row, len(source))
    return features.feature_blocks(function, variables, source, rows, batch=batch)


def check_rgb(source: Source, name: str) -> None:
    """Check that a pretrained network can take the images of a source.

    Args:
      source: of the images.
      name: of the network.

    Raises:
      ValueError: where they are not RGB.
    """
    channels = source.pictures.shape[-1]
    if channels != 3:
        raise ValueError(
            f"the images of {source.name} have {channels} channel, but {name} was trained on RGB: "
            "save them as RGB, or set model.encoder=conv."
        )


def with_backbone(variables: Mapping[str, Any], config: ConfigDict) -> dict[str, Any]:
    """Return a network's variables with the pretrained ones in them.

    Args:
      variables: `params` and `batch_stats` of a `DSH` with a pretrained encoder.
      config: of the run.

    Returns:
      Variables.
    """
    known = backbones.load(config.model.encoder, config.model.weights)
    whole = dict(variables)
    for collection, leaves in known.items():
        part = dict(whole[collection])
        part["encoder"] = {**part.get("encoder", {}), "backbone": leaves}
        whole[collection] = part
    return whole


def _features(model: nn.Module, side: int, variables, image_BxHxWxC: jax.Array) -> jax.Array:
    return model.apply(variables, resized(to_unit(image_BxHxWxC), side))


def _content(source: Source) -> str:
    """Return a digest of everything that the pictures' pixels follow from."""
    digest = hashlib.sha256(repr(source.images.shape).encode())
    images = source.images
    if isinstance(images, ArrayImages):
        for start in range(0, len(source), 1024):
            rows = np.arange(start, min(start + 1024, len(source)))
            digest.update(images.take(rows).tobytes())
    else:
        digest.update(f"{images.side} {images.fit}".encode())
        for row in range(len(source)):
            status = epath.Path(images.path(row)).stat()
            digest.update(f"\n{images.name_N[row]} {status.length} {status.mtime}".encode())
    return digest.hexdigest()
