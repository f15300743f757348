"""Which model made a code: a short name that follows from all that the codes follow from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from dsh_jax.pictures import VERSION
from dsh_jax.training.checkpoint import digest


def preparation(fit: str, views: int = 1) -> str:
    """Return the words for how a file becomes the network's input.

    Args:
      fit: `squash` or `crop`, see `data.images.FileImages`.
      views: of each image, see `evaluation.views`.

    Returns:
      Text; another version of the decoding gives another.
    """
    several = f", {views} views" if views > 1 else ""
    return f"decoding {VERSION}, {fit}, unit range, padded by zeros{several}"


def fingerprint(variables: Any, *, bits: int, shape: Sequence[int], preparation: str) -> str:
    """Return the name of a model: codes of equal fingerprints may be compared.

    The first 64 bits of SHA-256 over every weight with its name, type and shape, and the settings.

    Args:
      variables: to evaluate with, a tree of arrays, see `TrainState.evaluation_variables`.
      bits: K.
      shape: (H, W, C) of the images.
      preparation: from `preparation`.

    Returns:
      16 hex digits, the same for a run and its export.
    """
    settings = f"{digest(variables)} {bits} {tuple(map(int, shape))} {preparation}"
    return hashlib.sha256(settings.encode()).hexdigest()[:16]
