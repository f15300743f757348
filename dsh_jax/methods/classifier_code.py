"""The trivial baseline: the predicted class as a code. A hash worth its name must beat it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from dsh_jax.losses.centres import bernoulli_centres


def index_codes(classes: int, bits: int) -> jax.Array:
    """Return each class's number in binary, bit k being that of 2^k, then zeros.

    Args:
      classes: C.
      bits: K, at least log2 C.

    Returns:
      code_CxK in {−1, 1}, float32.

    Raises:
      ValueError: for too few bits.
    """
    if classes > 2 ** min(bits, 31):
        raise ValueError(
            f"{bits} bits cannot number {classes} classes; take {(classes - 1).bit_length()} bits "
            "or more."
        )
    # A shift by 31 leaves 0 of a number: int32 has no further bits.
    bit_CxK = jnp.arange(classes)[:, None] >> jnp.minimum(jnp.arange(bits), 31)[None] & 1
    return 2.0 * bit_CxK - 1


@functools.partial(jax.jit, static_argnames="bits")
def encode(score_NxC: jax.Array, bits: int, *, key: jax.Array | None = None) -> jax.Array:
    """Return the code of the class of the highest score.

    Rows of one class are at distance 0 and all others at some distance: mAP follows from the
    accuracy alone where all classes are equally far apart.

    Args:
      score_NxC: class scores.
      bits: K.
      key: of one random code a class (`centres.bernoulli_centres`), the same for queries and
        database; None for the class's number in binary.

    Returns:
      logit_NxK in {−1, 1}, float32; a bit is 1 where it is > 0.

    Raises:
      ValueError: without a key, for fewer than log2 C bits.
    """
    classes = score_NxC.shape[1]
    code_CxK = index_codes(classes, bits) if key is None else bernoulli_centres(key, classes, bits)
    return code_CxK[score_NxC.argmax(-1)]


def class_codes(score_BxC: jax.Array, bits: int) -> jax.Array:
    """Return `encode`'s codes by one random code a class, the same in every run."""
    return encode(score_BxC, bits, key=jax.random.PRNGKey(0))
