"""Codes of photographs without training: a pretrained network's features, rotated into bits.

ITQ (Gong and Lazebnik 2011) is fitted to some of the very photographs that are to be encoded; they
need no labels.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath

from dsh_jax import codes, parallel, pictures
from dsh_jax.augment import to_unit
from dsh_jax.collection.encoder import ImageEncoder
from dsh_jax.collection.fingerprint import fingerprint, preparation
from dsh_jax.methods import itq
from dsh_jax.network import backbones
from dsh_jax.progress import log_progress

FITTED = 2000  # photographs that the rotation is fitted to, at most
LEAST = 4  # times the bits: of fewer photographs there is nothing to be learnt
SIDE = 224


def fit_encoder(
    root: epath.PathLike,
    names: Sequence[str],
    *,
    network: str,
    bits: int,
    weights: epath.PathLike | None = None,
    side: int = SIDE,
    fit: str = "squash",
    seed: int = 0,
    batch: int = 64,
) -> ImageEncoder:
    """Return an encoder of photographs, its bits fitted to some of them.

    Args:
      root: folder of the names.
      names: of the files.
      network: one of `backbones.BACKBONES`.
      bits: K, at most as many as the network has features.
      weights: file of the network's; None for its package's.
      side: of the square to which photographs are brought, pixels.
      fit: how, `squash` or `crop`.
      seed: of the photographs that are drawn, and of the rotation to start from.
      batch: photographs at a time, over all devices.

    Returns:
      ImageEncoder without labels.

    Raises:
      ValueError: where too few photographs can be read; for missing or bad weights.
    """
    variables: dict[str, Any] = backbones.load(network, weights)
    model = backbones.BACKBONES[network].build()
    rng = np.random.default_rng(seed)
    drawn = [names[row] for row in rng.permutation(len(names))[:FITTED]]
    feature_NxF = _features(model, variables, root, drawn, side=side, fit=fit, batch=batch)
    if len(feature_NxF) < LEAST * bits:
        raise ValueError(
            f"{len(feature_NxF)} of {len(drawn)} photographs in {root} can be read; {bits} bits "
            f"are fitted to at least {LEAST * bits}: pass more photographs, or fewer bits."
        )
    found = itq.fit(jax.random.key(seed), feature_NxF, bits)
    weight_FxK = found.axis_DxK @ found.rotation_KxK
    variables = {**variables, "itq": {"mean": found.mean_D, "weight": weight_FxK}}
    shape = (side, side, 3)
    return ImageEncoder(
        function=functools.partial(packed_codes, model),
        variables=variables,
        shape=shape,
        bits=bits,
        fit=fit,
        fingerprint=fingerprint(variables, bits=bits, shape=shape, preparation=preparation(fit)),
        label_names=(),
    )


def packed_codes(
    model: nn.Module, variables: Mapping[str, Any], image_BxHxWx3: jax.Array
) -> jax.Array:
    """Return the codes of photographs.

    Args:
      model: the network.
      variables: its own, and `mean` [F] and `weight` [F, K] under `itq`.
      image_BxHxWx3: uint8.

    Returns:
      packed_BxW, uint8, see `codes.pack_bits`.
    """
    known = {name: variables[name] for name in ("params", "batch_stats")}
    feature_BxF = model.apply(known, to_unit(image_BxHxWx3))
    itq_part = variables["itq"]
    logit_BxK = jnp.dot(
        feature_BxF - itq_part["mean"][None], itq_part["weight"], precision="highest"
    )
    return codes.pack_bits(codes.binarize(logit_BxK))


def settings_of(encoder: ImageEncoder, network: str, weights: epath.PathLike | None) -> dict:
    """Return what an export says of an encoder.

    Args:
      encoder: from `fit_encoder`.
      network, weights: that it was made of.

    Returns:
      A tree for its config.json.
    """
    return {
        "method": "itq",
        "model": {"bits": encoder.bits, "encoder": network, "side": encoder.shape[0]},
        "data": {"fit": encoder.fit},
        "evaluation": {"views": 1},
        "weights": backbones.provenance(network, weights),
    }


def _features(model, variables, root, names, *, side, fit, batch) -> np.ndarray:
    """Return the features of the photographs that can be read."""
    mapped = parallel.parallel_apply(
        lambda variables, image: model.apply(variables, to_unit(image))
    )
    variables, devices = parallel.replicate(variables), parallel.device_count()
    size = -(-batch // devices) * devices
    found, started = [], time.monotonic()
    for start in range(0, len(names), size):
        paths = [str(epath.Path(root) / name) for name in names[start : start + size]]
        read = pictures.read_all(paths, (side, side, 3), fit)
        image = [one[0] for one in read if not isinstance(one, pictures.UnreadableError)]
        if image:
            filled = np.zeros((size, side, side, 3), np.uint8)
            filled[: len(image)] = image
            feature = mapped(variables, filled.reshape(devices, -1, side, side, 3))
            found.append(np.asarray(feature).reshape(size, -1)[: len(image)])
        log_progress("fitting", (start + len(paths)) / len(names), started)
    logging.info("fitted to %d photographs", sum(map(len, found)))
    return np.concatenate(found or [np.zeros((0, 1), np.float32)])
