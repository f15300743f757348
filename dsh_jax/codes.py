"""Binary codes: logits to bits, bits to bytes, bytes to distances. The bit order is set here only.

Shapes: N, Q, R rows; K bits; W = ceil(K/8) bytes; V = ceil(W/4) words.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import entr

from dsh_jax.typed import Array, jit


@jit
def binarize(logit_NxK: Array) -> jax.Array:
    """Threshold logits at zero: bit = 1 where logit > 0, else 0.

    Args:
      logit_NxK: real values; exactly 0 (and NaN) gives bit 0.

    Returns:
      uint8 array of 0 and 1, shape (N, K).
    """
    return jnp.greater(logit_NxK, 0).astype(jnp.uint8)


@jit
def pack_bits(bit_NxK: Array) -> jax.Array:
    """Pack bits into bytes, little-endian: bit k is bit (k mod 8) of byte floor(k/8).

    The order is that of `numpy.packbits(bitorder="little")` and of FAISS.

    Args:
      bit_NxK: bool or integer array; non-zero is bit 1.

    Returns:
      uint8 array, shape (N, ceil(K/8)); the unused high bits of the last byte are zero.
    """
    return jnp.packbits(bit_NxK, axis=-1, bitorder="little")


@functools.partial(jax.jit, static_argnames="bits")
def unpack_bits(packed_NxW: Array, bits: int) -> jax.Array:
    """Unpack bytes into bits: the inverse of `pack_bits`.

    Args:
      packed_NxW: uint8 array from `pack_bits`.
      bits: the code length K.

    Returns:
      uint8 array of 0 and 1, shape (N, K).

    Raises:
      ValueError: if the codes are not bytes, or W is not ceil(bits/8).
    """
    check_codes(packed_NxW, "codes", bits=bits)
    return jnp.unpackbits(packed_NxW, axis=-1, count=bits, bitorder="little")


@jit
def pack_words(packed_NxW: Array) -> jax.Array:
    """Join bytes into zero-padded 32-bit words: fewer, wider operations, the same distances.

    Args:
      packed_NxW: uint8 array from `pack_bits`.

    Returns:
      uint32 array, shape (N, ceil(W/4)).
    """
    rows, width = packed_NxW.shape
    padded_NxVx4 = jnp.pad(packed_NxW, ((0, 0), (0, -width % 4))).reshape(rows, -(-width // 4), 4)
    return lax.bitcast_convert_type(padded_NxVx4, jnp.uint32)


@jit
def hamming_distance(packed_QxW: Array, packed_RxW: Array) -> jax.Array:
    """Count differing bits: d(q, r) = popcount(q XOR r).

    Args:
      packed_QxW: codes of the queries, uint8 (or uint32 from `pack_words`).
      packed_RxW: codes of the database, of the same type and width.

    Returns:
      int32 array of bits, shape (Q, R).

    Raises:
      ValueError: if the widths or types differ.
    """
    if (packed_QxW.shape[1], packed_QxW.dtype) != (packed_RxW.shape[1], packed_RxW.dtype):
        raise ValueError(
            f"the codes differ in width or type: query {packed_QxW.shape} {packed_QxW.dtype}, "
            f"database {packed_RxW.shape} {packed_RxW.dtype}; "
            "pack both with pack_bits from the same number of bits"
        )
    differs_QxRxW = packed_QxW[:, None, :] ^ packed_RxW[None, :, :]
    return lax.population_count(differs_QxRxW).astype(jnp.int32).sum(axis=-1)


def code_health(bit_NxK: Array, bcoding_NxK: Array) -> dict[str, jax.Array | float]:
    """Describe how well a set of codes uses its bits.

    Runs on the host: counting distinct codes needs a sort of whole rows.

    Args:
      bit_NxK: 0 or 1, from `binarize`.
      bcoding_NxK: the relaxed bits in (0, 1) that the bits were cut from.

    Returns:
      A dict of floats, and one float32 vector:
        bit_mean_K: share of ones of each bit.
        bit_mean_min, bit_mean_max: its extremes; 0.5 is balanced.
        bit_entropy: mean over the bits of -m log2 m - (1-m) log2 (1-m), in bits; 1 is best.
        dead_bits: how many bits are constant over all N.
        distinct_codes: number of different codes divided by N.
        quantization_gap: mean of |bcoding - bit|; 0 is best, 0.5 is worst.

    Raises:
      ValueError: if the shapes differ or there is no row or no bit.
    """
    if bit_NxK.shape != bcoding_NxK.shape or bit_NxK.ndim != 2 or 0 in bit_NxK.shape:
        raise ValueError(
            f"bit has shape {bit_NxK.shape} and bcoding {bcoding_NxK.shape}; "
            "pass two (N, K) arrays of the same images, N and K at least 1"
        )
    # In whole numbers: a float32 sum of ones stops at 2^24.
    ones_K = jnp.sum(jnp.asarray(bit_NxK), axis=0, dtype=jnp.int32)
    bit_mean_K = ones_K / len(bit_NxK)
    entropy_K = (entr(bit_mean_K) + entr(1 - bit_mean_K)) / jnp.log(2.0)
    distinct = len(np.unique(np.asarray(pack_bits(bit_NxK)), axis=0))
    gap_NxK = np.abs(np.asarray(bcoding_NxK, np.float32) - np.asarray(bit_NxK))
    return {
        "bit_mean_K": bit_mean_K,
        "bit_mean_min": float(bit_mean_K.min()),
        "bit_mean_max": float(bit_mean_K.max()),
        "bit_entropy": float(entropy_K.mean()),
        "dead_bits": float(jnp.sum((ones_K == 0) | (ones_K == len(bit_NxK)))),
        "distinct_codes": distinct / len(bit_NxK),
        "quantization_gap": float(np.mean(gap_NxK, dtype=np.float64)),
    }


def check_codes(packed_NxW: Array, name: str, *, bits: int | None = None) -> None:
    """Refuse anything but a non-empty (N, W) uint8 array, W = ceil(bits/8) where bits is given.

    Args:
      packed_NxW: the array to check.
      name: what the message calls it.
      bits: the code length K, or None for any.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    if packed_NxW.ndim != 2 or 0 in packed_NxW.shape or packed_NxW.dtype != jnp.uint8:
        raise ValueError(
            f"{name} has shape {packed_NxW.shape} and type {packed_NxW.dtype}; "
            "wanted a non-empty (rows, bytes) uint8 array; pack 0/1 bits with pack_bits"
        )
    if bits is not None and packed_NxW.shape[1] != -(-bits // 8):
        raise ValueError(
            f"{name} has {packed_NxW.shape[1]} bytes a row, but bits={bits} needs "
            f"{-(-bits // 8)}; pass the number of bits that the codes were packed from"
        )
