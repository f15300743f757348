"""Images as a trained run's decoder rebuilds them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from dsh_jax.augment import network_input
from dsh_jax.network import DSH
from dsh_jax.training import build, checkpoint


class Intact(NamedTuple):
    """A state of a run whose decoder fits its encoder.

    Attributes:
      step: training steps done.
      variables: of the network.
      words: which state it is, for a reader.
    """

    step: int
    variables: Any
    words: str


def intact(
    config: ConfigDict, described: build.Run, workdir: epath.PathLike, *, step: int, variables: Any
) -> Intact | None:
    """Return the state of a run to rebuild images with.

    Where hashing trains the decoder too, that is the evaluated one. Where it does not, its encoder
    leaves the decoder behind: then it is the state at the end of the autoencoder's stage.

    Args:
      config: of the run.
      described: what `build.build` made of it.
      workdir: the run's folder.
      step, variables: of the evaluated checkpoint.

    Returns:
      Intact, or None where no decoder was trained or its state was not kept.

    Raises:
      ValueError: for a checkpoint of another architecture.
    """
    if config.loss.r > 0 and config.method == "dhs":
        return Intact(step, variables, f"the network after step {step}")
    if config.training.mode != "two_stage":
        return None
    folder = epath.Path(workdir).expanduser().resolve()
    saved = checkpoint.at(folder, described.stages[0].stop, described.state_shapes)
    if saved is None:
        return None
    words = f"the autoencoder at the end of its stage, after step {saved.step}"
    return Intact(saved.step, saved.state.evaluation_variables(), words)


@functools.partial(jax.jit, static_argnums=0)
def rebuild(model: DSH, variables: Any, image_BxHxWxC: np.ndarray) -> jax.Array:
    """Return what the decoder makes of images.

    Args:
      model: the network.
      variables: its own.
      image_BxHxWxC: uint8.

    Returns:
      uint8 [B, H', W', C]; H' and W' are at least 32, see `augment.pad_small`.
    """
    decoded = model.apply(variables, network_input(image_BxHxWxC)).decoded
    return jax.numpy.rint(decoded * 255).astype(np.uint8)
