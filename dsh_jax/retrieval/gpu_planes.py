"""Distance counts by bit planes on a GPU: a Pallas kernel, see `bit_planes` for the idea.

A program counts for one query, one part of the database and one range of distances. Each of its
threads holds a word of 32 items at a time and its counts in registers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from dsh_jax.retrieval.bit_planes import count_ones, equal_to

WIDTH = 128  # words in work at a time: one for each thread of four warps
MOST_COUNTS = 128  # of a thread, which has 255 registers
MOST_UNROLLED = 64  # bits; the planes of longer codes are added in a loop
GROUP = 31  # planes in a turn of that loop: their number takes five digits


def part_counts(
    query_QxV: jax.Array,
    plane_KxPxL: jax.Array,
    real_PxL: jax.Array,
    mark_UxTxPxL: jax.Array | None = None,
    set_Q: jax.Array | None = None,
) -> jax.Array:
    """Count the items, and the marked items, of each part at each distance from each query.

    Args:
      query_QxV: uint32 words of the queries' codes.
      plane_KxPxL: uint32 planes of P parts, L a multiple of WIDTH.
      real_PxL: planes of the places that hold an item.
      mark_UxTxPxL: planes of marked items, U sets of T; None for none.
      set_Q: int32, each query's set.

    Returns:
      int32 [Q, P, 1 + T, K + 1], [..., 0, :] of all items.

    Raises:
      ValueError: if L is no multiple of WIDTH.
    """
    bits, parts, length = plane_KxPxL.shape
    if length % WIDTH:
        raise ValueError(f"parts of {length} words; wanted a multiple of {WIDTH}: pad them")
    queries, words = query_QxV.shape
    if mark_UxTxPxL is None or set_Q is None:
        mark_UxTxPxL, set_Q = real_PxL[None, None], jnp.zeros(queries, jnp.int32)
        sets, marks = 1, 0
    else:
        sets, marks = mark_UxTxPxL.shape[:2]
    levels = 1 + marks
    digits = min((MOST_COUNTS // levels).bit_length() - 1, (bits - 1).bit_length())
    values = 1 << digits  # distances of a program
    ranges = -(-bits // values)
    out = jax.ShapeDtypeStruct((queries, parts, ranges, levels, values), jnp.int32)
    count = gpu_call(
        functools.partial(_kernel, digits=digits),
        grid=(queries, parts, ranges),
        in_specs=[
            pl.BlockSpec((1, words), lambda q, p, r: (q, 0)),
            pl.BlockSpec((1,), lambda q, p, r: (q,)),
            pl.BlockSpec((bits, 1, length), lambda q, p, r: (0, p, 0)),
            pl.BlockSpec((1, length), lambda q, p, r: (p, 0)),
            pl.BlockSpec((sets, max(marks, 1), 1, length), lambda q, p, r: (0, 0, p, 0)),
        ],
        out_specs=pl.BlockSpec((1, 1, 1, levels, values), lambda q, p, r: (q, p, r, 0, 0)),
        out_shape=out,
    )(query_QxV, set_Q, plane_KxPxL, real_PxL, mark_UxTxPxL)
    count_QxPxTxD = count.transpose(0, 1, 3, 2, 4).reshape(queries, parts, levels, -1)[..., :bits]
    # An item at none of the other distances is at the last: one range less at 64 bits.
    ones = lambda planes: lax.population_count(planes).astype(jnp.int32).sum(axis=-1)  # noqa: E731
    total_QxPxT = jnp.broadcast_to(ones(real_PxL)[None, :, None], (queries, parts, 1))
    if marks:
        of_marks_QxPxT = ones(mark_UxTxPxL).transpose(0, 2, 1)[set_Q]
        total_QxPxT = jnp.concatenate([total_QxPxT, of_marks_QxPxT], axis=2)
    last_QxPxT = total_QxPxT - count_QxPxTxD.sum(axis=-1)
    return jnp.concatenate([count_QxPxTxD, last_QxPxT[..., None]], axis=-1)


def gpu_call(kernel: Callable, **options) -> Callable[..., jax.Array]:
    """Return a kernel as a function that a GPU compiles and every other platform interprets.

    Args:
      kernel: takes references, and `interpret`.
      options: of `pallas_call`.

    Returns:
      A function of arrays.
    """
    compiled = pl.pallas_call(
        functools.partial(kernel, interpret=False),
        compiler_params=triton.CompilerParams(num_warps=WIDTH // 32, num_stages=1),
        **options,
    )
    interpreted = pl.pallas_call(
        functools.partial(kernel, interpret=True), interpret=True, **options
    )
    return lambda *args: lax.platform_dependent(*args, cuda=compiled, default=interpreted)


def distance_digits(query_ref, plane_ref, at, bits: int) -> list[jax.Array]:
    """Return the distances of some items as binary numbers, their digits as planes.

    Args:
      query_ref: [1, V] words of one code.
      plane_ref: [K, 1, L] planes of one part.
      at: which words of the planes.
      bits: K.

    Returns:
      The digits, the lowest first.
    """

    def differing(k):
        bit = query_ref[0, k >> 5] >> jnp.uint32(k & 31) & jnp.uint32(1)
        return plane_ref[k, 0, at] ^ (jnp.uint32(0) - bit)  # minus one is a word of ones

    if bits <= MOST_UNROLLED:
        return count_ones([differing(k) for k in range(bits)])

    def add_group(group, sum_digits):
        more = count_ones([differing(group * GROUP + i) for i in range(GROUP)])
        return tuple(_added(sum_digits, more))

    nothing = jnp.zeros(WIDTH, jnp.uint32)
    groups = bits // GROUP
    digits = lax.fori_loop(0, groups, add_group, (nothing,) * bits.bit_length())
    rest = [differing(k) for k in range(groups * GROUP, bits)]
    return _added(digits, count_ones(rest)) if rest else list(digits)


def count_set(word: jax.Array, *, interpret: bool) -> jax.Array:
    """Return how many bits of each word are set, int32.

    Args:
      word: uint32.
      interpret: whether plain JAX runs it; Triton's lowering lacks the operation.

    Returns:
      int32 of the same shape.
    """
    if interpret:
        return lax.population_count(word).astype(jnp.int32)
    (count,) = triton.elementwise_inline_asm(
        "popc.b32 $0, $1;",
        args=[word],
        constraints="=r,r",
        pack=1,
        result_shape_dtypes=[jax.ShapeDtypeStruct(word.shape, jnp.int32)],
    )
    return count


def _kernel(query_ref, set_ref, plane_ref, real_ref, mark_ref, out_ref, *, digits, interpret):
    bits, _, length = plane_ref.shape
    levels, values = out_ref.shape[3:]
    number = pl.program_id(2)
    own = set_ref[0]

    def add_words(i, counts):
        at = pl.ds(i * WIDTH, WIDTH)
        digit = distance_digits(query_ref, plane_ref, at, bits)
        within = real_ref[0, at]
        for j, plane in enumerate(
            digit[digits:]
        ):  # of this range: the higher digits are its number
            within &= plane ^ ((number >> j & 1).astype(jnp.uint32) - jnp.uint32(1))
        equal = equal_to(digit[:digits], range(values), within)
        marks = [mark_ref[own, t, 0, at] for t in range(levels - 1)]
        every = [plane & mark for mark in marks for plane in equal]
        ones = [count_set(plane, interpret=interpret) for plane in (*equal, *every)]
        return tuple(count + one for count, one in zip(counts, ones, strict=True))

    nothing = jnp.zeros(WIDTH, jnp.int32)
    counts = lax.fori_loop(0, length // WIDTH, add_words, (nothing,) * (levels * values))
    for i, count in enumerate(counts):
        out_ref[0, 0, 0, i // values, i % values] = count.sum()


def _added(digits, more):
    """The digits of a sum of two numbers, as many as the first has."""
    total, carry = [], None
    for i, digit in enumerate(digits):
        terms = [digit, *([more[i]] if i < len(more) else []), *([] if carry is None else [carry])]
        digits_of = count_ones(terms) if len(terms) > 1 else [digit]
        total.append(digits_of[0])
        carry = digits_of[1] if len(digits_of) > 1 else None
    return total
