"""Distance counts by bit planes: 32 database items in a word, one word operation for all of them.

A block of N = 32 L items is turned on its side: plane k holds bit k of every item. XOR with the
query's bit and full adders along the planes give the distance of every item as a binary number,
itself in planes; AND of its digits marks the items at distance d; population counts count them.
Labels are planes too, one for each class.

The fused loop keeps everything between the planes and the counts in registers. What makes XLA fuse
it is a single reduction with all counts as its operands.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WORD = 32  # items to a word
MOST_COUNTS = 260  # in one loop: with more, LLVM no longer vectorises it
APART = 16  # words after long planes: a power of two apart, they meet in one set of a cache


def bit_planes(word_NxV: jax.Array, bits: int) -> jax.Array:
    """Transpose words into planes: bit i of word l of plane k is bit k of item 32 l + i.

    Args:
      word_NxV: uint32 rows from `codes.pack_words`; N = 32 L.
      bits: the planes wanted, K, at most 32 V.

    Returns:
      uint32 array, shape (K, L).
    """
    word_VxIxL = word_NxV.reshape(-1, WORD, word_NxV.shape[1]).transpose(2, 1, 0)
    k_Kx1 = jnp.arange(WORD, dtype=jnp.uint32)[:, None]
    planes = []
    for word_IxL in word_VxIxL:
        bit = [((word_L[None] >> k_Kx1) & 1) << i for i, word_L in enumerate(word_IxL)]
        planes.append(functools.reduce(jnp.bitwise_or, bit))
    return jnp.concatenate(planes)[:bits]


def count_ones(planes: list[jax.Array]) -> list[jax.Array]:
    """Add single bits into a binary number, for 32 items a word at once.

    Depth first, so that few sums are alive at a time: registers are what this is short of.

    Args:
      planes: uint32 arrays of one shape, at least one.

    Returns:
      The digits of the sum as planes, the lowest first.
    """
    waiting: list[list[jax.Array]] = []

    def add(digit: int, plane: jax.Array) -> None:
        if digit == len(waiting):
            waiting.append([])
        waiting[digit].append(plane)
        if len(waiting[digit]) == 3:
            a, b, c = waiting[digit]
            waiting[digit] = [a ^ b ^ c]
            add(digit + 1, (a & b) | (a & c) | (b & c))

    for plane in planes:
        add(0, plane)
    sums = []
    while len(sums) < len(waiting):
        digit = len(sums)
        if len(waiting[digit]) == 2:
            a, b = waiting[digit]
            waiting[digit] = [a ^ b]
            add(digit + 1, a & b)
        sums.append(waiting[digit][0])
    return sums


def equal_to(digits: list[jax.Array], values: range, where: jax.Array) -> list[jax.Array]:
    """Mark the items whose number is each of the values.

    The products of the low digits and of the high digits are shared by the values.

    Args:
      digits: planes of a binary number, the lowest first.
      values: non-negative and below 2^len(digits).
      where: a plane; only items in it are marked.

    Returns:
      A plane for each value.
    """
    half = min(3, len(digits))
    low, high = _products(digits[:half], ~jnp.zeros_like(where)), _products(digits[half:], where)
    return [high[value >> half] & low[value % (1 << half)] for value in values]


def _products(digits, start):
    """The planes of the numbers 0, 1, 2, … of these digits."""
    products = [start]
    for digit in reversed(digits):
        products = [plane for product in products for plane in (product & ~digit, product & digit)]
    return products


def at_least(digits: list[jax.Array], value: int) -> jax.Array:
    """Mark the items whose number is at least a value, 1 or more."""
    above = jnp.zeros_like(digits[0])
    equal = ~above
    for i, digit in reversed(list(enumerate(digits))):
        if value >> i & 1:
            equal = equal & digit
        else:
            above, equal = above | (equal & digit), equal & ~digit
    return above | equal if value < 1 << len(digits) else jnp.zeros_like(above)


def query_labels(label_QxC: np.ndarray) -> np.ndarray:
    """List each query's classes, which is what `add_block` takes for its labels.

    Args:
      label_QxC: bool, multi-hot.

    Returns:
      int32 array, shape (Q, M), M the most labels of a query, rounded up to a power of two so that
      data sets share compilations. Rows are filled up with C, a class that no item has.
    """
    count_Q = label_QxC.sum(axis=1)
    most = 1 << (max(int(count_Q.max(initial=1)), 1) - 1).bit_length()
    class_QxM = np.full((len(label_QxC), most), label_QxC.shape[1], np.int32)
    query, label = label_QxC.nonzero()
    place = np.arange(len(query)) - np.repeat(np.cumsum(count_Q) - count_Q, count_Q)
    class_QxM[query, place] = label
    return class_QxM


def add_block(
    count_QxDxT: jax.Array,
    query_QxV: jax.Array,
    query_class_QxM: jax.Array,
    queries: jax.Array,
    code_NxV: jax.Array,
    label_NxU: jax.Array,
    items: jax.Array,
    *,
    classes: int,
    shared: tuple[int, ...],
) -> jax.Array:
    """Add the counts of one block of the database: XOR, add, compare, count.

    Args:
      count_QxDxT: int32 counts so far; D = K + 1, T = 1 + len(shared).
      query_QxV: uint32 words of the queries' codes.
      query_class_QxM: from `query_labels`.
      queries: how many of the Q rows are real.
      code_NxV: uint32 words of the block's codes, N a multiple of 32.
      label_NxU: uint32 words of the block's multi-hot labels.
      items: how many of the N rows are real.
      classes: C.
      shared: how many labels an item must share with the query, one number for each count.

    Returns:
      The new counts: [..., 0] of all items, [..., t] of those that share shared[t - 1] labels.
    """
    apart = APART if len(code_NxV) // WORD >= 512 else 0
    plane_KxL = jnp.pad(bit_planes(code_NxV, count_QxDxT.shape[1] - 1), ((0, 0), (0, apart)))
    class_CxL = jnp.pad(bit_planes(label_NxU, classes), ((0, 1), (0, apart)))
    real_L = first_items(items, jnp.arange(plane_KxL.shape[1]))

    def add_query(q, count_QxDxT):
        common = [class_CxL[index] for index in query_class_QxM[q]]
        marks = [mark_shared(common, number) for number in shared]
        count_DxT = count_distances(query_QxV[q], plane_KxL, real_L, marks)
        return count_QxDxT.at[q].add(count_DxT)

    return lax.fori_loop(0, queries, add_query, count_QxDxT)


def distance_digits(query_V: jax.Array, plane_KxL: jax.Array) -> list[jax.Array]:
    """Return the distance of every item as a binary number.

    Args:
      query_V: uint32 words of one code.
      plane_KxL: from `bit_planes`.

    Returns:
      Its digits as planes, the lowest first.
    """
    k_K = jnp.arange(len(plane_KxL))
    bit_K = query_V[k_K // WORD] >> (k_K % WORD).astype(jnp.uint32) & 1
    # Minus one is a word of ones.
    return count_ones([plane_L ^ -bit for plane_L, bit in zip(plane_KxL, bit_K, strict=True)])


def count_distances(
    query_V: jax.Array, plane_Kx_xL: jax.Array, where: jax.Array, marks: list[jax.Array]
) -> jax.Array:
    """Count the items, and the marked items, at each distance from one query.

    Args:
      query_V: uint32 words of the query's code.
      plane_Kx_xL: from `bit_planes`, [K, L] or in parts, [K, P, L].
      where: a plane, [L] or [P, L]; only items in it count.
      marks: T - 1 planes, each of which makes one more count.

    Returns:
      int32 counts, shape (K + 1, T) or (K + 1, P, T): [..., 0] of all items, [..., t] of those in
      marks[t - 1].
    """
    bits = len(plane_Kx_xL)
    chunks = -(-(bits + 1) * (1 + len(marks)) // MOST_COUNTS)
    chunk = -(-(bits + 1) // chunks)
    counts = []
    for start in range(0, bits + 1, chunk):
        values = range(start, min(start + chunk, bits + 1))
        planes = []
        for plane_L in equal_to(distance_digits(query_V, plane_Kx_xL), values, where):
            planes += [plane_L, *(plane_L & mark_L for mark_L in marks)]
        ones = [lax.population_count(plane).astype(jnp.int32) for plane in planes]
        counts += lax.reduce(ones, [jnp.int32(0)] * len(ones), add_each, (where.ndim - 1,))
    each = jnp.stack(counts).reshape(bits + 1, 1 + len(marks), *where.shape[:-1])
    return jnp.moveaxis(each, 1, -1)


def first_items(items: jax.Array, word_L: jax.Array) -> jax.Array:
    """Mark the first items of a block.

    Args:
      items: how many.
      word_L: int32, which word of the block each word of the planes is.

    Returns:
      A plane, uint32 of shape (L,).
    """
    filled_L = jnp.clip(items - WORD * word_L, 0, WORD)
    ones = ~jnp.uint32(0)
    return ~jnp.where(filled_L == WORD, 0, ones << filled_L.astype(jnp.uint32))


def mark_shared(common: list[jax.Array], number: int) -> jax.Array:
    """Mark the items that have at least so many of some classes.

    Args:
      common: planes of the classes.
      number: 1 or more.

    Returns:
      A plane.
    """
    if number == 1:
        return functools.reduce(jnp.bitwise_or, common)
    return at_least(count_ones(common), number)


def add_each(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]
