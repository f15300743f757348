"""Row numbers of a step from seed and step alone, in JAX: the rows that tf.data's pipeline reads.

An epoch is a permutation of 0 … N−1 by a small block cipher: numbers of 2 W bits, W at least 8, are
enciphered until one below N comes out ("cycle walking"). The cipher is Simon with W-bit words and
three words of key, cut to ROUNDS rounds, as TensorFlow's `RandomIndexShuffle` has it, with which it
agrees in every bit but for N = 2^16 + 1, 2^18 + 1, …: there TensorFlow's is no permutation.

Source: Beaulieu et al. 2013 (Simon); Black and Rogaway 2002 (cycle walking).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.typed import Array

ROUNDS = 8  # of fewer, the epochs of 50,000 rows are alike
CONSTANTS = 0x7369F885192C0EF5  # Simon's z, from its lowest bit on: one a round from the fourth
MOST_ROWS = 1 << 30


def epoch_keys(epochs: int, seed: int, pool: int) -> np.ndarray:
    """Return one key of three random words for each epoch; the first ones whatever their number.

    Random words matter: under small numbers such as (seed, epoch, 0) the shuffle leaves most of a
    small pool in its order, and gives the epochs of a large one like orders.

    Args:
      epochs: how many.
      seed: of the shuffling.
      pool: 0 of labelled rows, 1 of unlabelled ones.

    Returns:
      int32 [epochs, 3].
    """
    rng = np.random.default_rng((seed, pool))
    return rng.integers(-(2**31), 2**31, (epochs, 3), np.int32)


def shuffled(place_N: Array, key_Nx3: Array, rows: int) -> jax.Array:
    """Return what stands at some places of shuffled epochs.

    Args:
      place_N: 0 … rows − 1, int32.
      key_Nx3: of each one's epoch, from `epoch_keys`.
      rows: of an epoch, at most MOST_ROWS.

    Returns:
      int32 [N], 0 … rows − 1; of one key, a permutation of the places.

    Raises:
      ValueError: for more rows than MOST_ROWS, or none.
    """
    if not 0 < rows <= MOST_ROWS:
        raise ValueError(f"{rows:,} rows cannot be shuffled; wanted 1 to {MOST_ROWS:,}.")
    word = max(8, -(-(rows - 1).bit_length() // 2))
    key_NxR = _round_keys(jnp.asarray(key_Nx3).astype(jnp.uint32), word)
    most = jnp.uint32(rows - 1)

    def walk(value_N):
        return jnp.where(value_N > most, _enciphered(value_N, key_NxR, word), value_N)

    first_N = _enciphered(jnp.asarray(place_N).astype(jnp.uint32), key_NxR, word)
    return lax.while_loop(lambda value_N: (value_N > most).any(), walk, first_N).astype(jnp.int32)


def _round_keys(key_Nx3: jax.Array, word: int) -> list[jax.Array]:
    """Return Simon's key schedule: a word of each row for each round."""
    mask = (1 << word) - 1
    keys = [key_Nx3[:, i] & jnp.uint32(mask) for i in range(3)]
    for i in range(ROUNDS - 3):
        constant = jnp.uint32((0xFFFFFFFC ^ (CONSTANTS >> i & 1)) & mask)
        last = _turned(keys[-1], word - 3, word) ^ _turned(keys[-1], word - 4, word)
        keys.append(constant ^ keys[-3] ^ last)
    return keys


def _enciphered(value_N: jax.Array, keys: list[jax.Array], word: int) -> jax.Array:
    left, right = value_N >> word, value_N & jnp.uint32((1 << word) - 1)
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        left = left ^ _round(right, word) ^ first
        right = right ^ _round(left, word) ^ second
    return left << word | right


def _round(x: jax.Array, word: int) -> jax.Array:
    return (_turned(x, 1, word) & _turned(x, 8, word)) ^ _turned(x, 2, word)


def _turned(x: jax.Array, by: int, word: int) -> jax.Array:
    """Return words with their bits turned to the left."""
    by %= word
    return (x << by | x >> (word - by)) & jnp.uint32((1 << word) - 1) if by else x
