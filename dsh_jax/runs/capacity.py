"""How many points of a population one program can hold, by the memory of a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from absl import logging

from dsh_jax.training import build

SHARE = 0.8  # of a device's memory that points may take
# Of the bytes that all layers put out: what the backward pass keeps and makes. XLA's own figures
# for an H100 are .8 (mnist.py:modern, with the gradients) and 1.4 (cifar10.py:modern).
WORK = 1.5

T = TypeVar("T")


def point_bytes(run: build.Run, *, decode: bool) -> int:
    """Estimate the memory that a training step takes on one device, without compiling it.

    The state, the gradients, and `WORK` times the outputs of all layers for a whole batch.

    Args:
      run: of the point.
      decode: whether the decoder is trained.

    Returns:
      Bytes.
    """
    stage = run.stages[-1]
    state = run.state_shapes(stage.stop)
    model = run.model.clone(axis_name=None)

    def outputs(params, batch_stats, image_BxHxWxC):
        _, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            image_BxHxWxC,
            train=True,
            decode=decode,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
        )
        return updated["intermediates"]

    image = jax.ShapeDtypeStruct((stage.batch, *model.shape), jnp.float32)
    made = jax.eval_shape(outputs, state.params, state.batch_stats, image)
    return round(_bytes(state) + _bytes(state.params) + _bytes(image) + WORK * _bytes(made))


def parts(points: Sequence[T], *, point: int, memory: int, devices: int) -> list[list[T]]:
    """Cut points into those of one program each, of about equal numbers.

    Where a number does not divide by that of the devices, each holds every point, with a part of
    its batch: more than is reckoned here where states are large.

    Args:
      points: that one program could train.
      point: bytes of each, where `memory` is known.
      memory: of a device, bytes; 0 where it is not known, and all go into one program.
      devices: that share the points.

    Returns:
      Lists of points, of multiples of `devices` where there are several.
    """
    most = len(points)
    if memory:
        most = max(int(SHARE * memory / point), 1) * devices
    programs = -(-len(points) // most)
    if programs == 1:
        return [list(points)]
    size = -(-len(points) // programs)
    size = -(-size // devices) * devices
    logging.info(
        "a point takes about %.2f of a device's %.1f GB: %d points in %d programs, one after "
        "another",
        point / 1e9,
        memory / 1e9,
        len(points),
        programs,
    )
    return [list(points[start : start + size]) for start in range(0, len(points), size)]


def _bytes(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
