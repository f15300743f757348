"""The penalty of weights, and whether a term is wanted at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def kernels(params: Any, parts: Sequence[str] | None = None) -> Any:
    """Return which parameters are kernels, those that weight decay and penalty may touch.

    Args:
      params: a tree of parameters; kernels are the leaves named `kernel`.
      parts: names of the tree's uppermost nodes, such as `encoder`, in which to look; None for all.

    Returns:
      A tree of bools.

    Raises:
      ValueError: for a part that the tree has not.
    """
    if unknown := sorted(set(parts or ()) - set(params)):
        raise ValueError(f"there is no part {unknown[0]!r}; there are {', '.join(sorted(params))}.")
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key == "kernel" and (parts is None or path[0].key in parts), params
    )


def weight_penalty(params: Any, *, parts: Sequence[str] | None = None) -> jax.Array:
    """Return the sum of squares over kernels, the objective's second term.

    `||W||^2`; biases and normalisation parameters never count. The paper leaves W open: it should
    be kernels that the other terms train, for the penalty alone would take the rest apart.

    Args:
      params: a tree of parameters, see `kernels`.
      parts: W, names of uppermost nodes; None for all.

    Returns:
      A scalar, float.

    Raises:
      ValueError: for a part that there is not, or where no kernel is left.
    """
    is_chosen = kernels(params, parts)
    leaves = zip(jax.tree.leaves(params), jax.tree.leaves(is_chosen), strict=True)
    chosen = [leaf for leaf, is_one in leaves if is_one]
    if not chosen:
        raise ValueError(f"no leaf named 'kernel' in {parts or 'params'}: nothing to penalise.")
    return jnp.sum(jnp.stack([jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in chosen]))


def is_on(weight: float | jax.Array) -> bool:
    """Return whether a term of this weight is computed: not for 0, always for a traced weight."""
    return isinstance(weight, jax.core.Tracer) or bool(weight)
