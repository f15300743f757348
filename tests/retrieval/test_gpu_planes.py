"""The kernels for a GPU: run as plain JAX against brute force, and compiled for an H100."""

import functools

import h100
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_codes import random_codes

from dsh_jax import retrieval
from dsh_jax.retrieval import gpu_planes, gpu_search
from dsh_jax.retrieval.bit_planes import bit_planes


def packed(bit_NxK):
    """Zero-padded words of bits."""
    bits = bit_NxK.shape[-1]
    wide = np.pad(bit_NxK, [(0, 0)] * (bit_NxK.ndim - 1) + [(0, -bits % 32)])
    return np.packbits(wide, axis=-1, bitorder="little").view("<u4")


# Each shape takes seconds to interpret: few here, more where time does not count.
@pytest.mark.parametrize(
    ("bits", "parts", "marks", "bias"),
    [
        (12, 2, 1, 0.5),
        (65, 1, 2, 0.02),
        *(
            pytest.param(bits, 2, marks, bias, marks=pytest.mark.slow)
            for bits, marks, bias in [(1, 0, 0.5), (33, 3, 1.0), (255, 1, 0.5), (1024, 0, 0.5)]
        ),
    ],
)
def test_counts_are_those_of_each_part_and_mark(bits, parts, marks, bias):
    draw = np.random.default_rng(bits)
    items, sets, queries = 32 * gpu_planes.WIDTH, 2, 2
    code_NxK = draw.random((parts * items, bits)) < bias
    query_QxK = draw.random((queries, bits)) < bias
    query_QxK[0] = ~code_NxK[0]  # the farthest there is
    real_PxN = draw.random((parts, items)) < 0.9
    mark_UxTxPxN = (draw.random((sets, marks, parts, items)) < 0.3) & real_PxN
    set_Q = draw.integers(0, sets, queries).astype(np.int32)
    plane_KxPxL = bit_planes(jnp.asarray(packed(code_NxK)), bits).reshape(bits, parts, -1)
    count = functools.partial(
        gpu_planes.part_counts, packed(query_QxK), plane_KxPxL, packed(real_PxN)
    )
    found = count(packed(mark_UxTxPxN), set_Q) if marks else count()
    distance_QxPxN = (code_NxK != query_QxK[:, None]).sum(-1).reshape(queries, parts, items)
    for q in range(queries):
        for p in range(parts):
            for t in range(1 + marks):
                where = mark_UxTxPxN[set_Q[q], t - 1, p] if t else real_PxN[p]
                wanted = np.bincount(distance_QxPxN[q, p][where], minlength=bits + 1)
                np.testing.assert_array_equal(found[q, p, t], wanted)


@pytest.mark.parametrize(
    ("words", "items", "share", "mask"),
    [
        (1, 100, 0.5, 3),
        (2, 40_000, 0.01, 0xFFFFFFFF),
        *(
            pytest.param(*shape, marks=pytest.mark.slow)
            for shape in [(1, 1, 1, 0), (3, 31, 1, 0xFFFF), (1, 32_768, 1, 0), (2, 40_000, 0, 3)]
        ),
    ],
)
def test_search_equals_a_stable_sort(words, items, share, mask):
    draw = np.random.default_rng(items)
    code_NxV = draw.integers(0, 2**32, (items, words), dtype=np.uint32) & np.uint32(mask)
    query_QxV = draw.integers(0, 2**32, (2, words), dtype=np.uint32)
    query_QxV[0] = code_NxV[-1]
    k = max(1, int(share * items))
    rows = gpu_search.padded_items(items)
    arranged = gpu_search.arrange(np.pad(code_NxV, ((0, rows - items), (0, 0)), mode="edge"))
    found = gpu_search.nearest(query_QxV, *arranged, np.int32(items), k=k)
    distance_QxN = np.bitwise_count(code_NxV ^ query_QxV[:, None]).sum(-1, dtype=np.int32)
    order_Qxk = np.argsort(distance_QxN, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found[1], order_Qxk)
    np.testing.assert_array_equal(found[0], np.take_along_axis(distance_QxN, order_Qxk, axis=1))


def test_more_than_there_are_is_far():
    arranged = gpu_search.arrange(jnp.zeros((gpu_search.padded_items(3), 1), jnp.uint32))
    distance, _ = gpu_search.nearest(jnp.zeros((1, 1), jnp.uint32), *arranged, np.int32(3), k=5)
    assert distance.tolist() == [[0, 0, 0, 33, 33]]


def test_ragged_parts_say_what_is_wanted():
    with pytest.raises(ValueError, match="parts of 100 words; wanted a multiple of 128: pad them"):
        jax.eval_shape(
            gpu_planes.part_counts,
            jnp.zeros((1, 1), jnp.uint32),
            jnp.zeros((8, 1, 100), jnp.uint32),
            jnp.zeros((1, 100), jnp.uint32),
        )


@pytest.mark.slow
@h100.needs_compiler
@pytest.mark.parametrize(
    ("bits", "marks"), [(12, 1), (32, 3), (64, 0), (64, 1), (128, 1), (512, 1)]
)
def test_h100_counts_stay_in_registers(bits, marks):
    parts, length, queries = 8, 4096, 1000  # about a million items
    shapes = [
        ((queries, -(-bits // 32)), "uint32"),
        ((bits, parts, length), "uint32"),
        ((parts, length), "uint32"),
    ]
    if marks:
        shapes += [((10, marks, parts, length), "uint32"), ((queries,), "int32")]
    facts = h100.compiled("dsh_jax.retrieval.gpu_planes:part_counts", *shapes)
    assert set(facts["custom_calls"]) == {"__gpu$xla.gpu.triton"}
    assert not facts["float64"]
    assert not {"sort", "scatter", "while"} & set(facts["others"])
    (kernel,) = facts["kernels"]
    levels = 1 + marks
    values = 1 << min((gpu_planes.MOST_COUNTS // levels).bit_length() - 1, (bits - 1).bit_length())
    assert kernel["popc"] == levels * values  # one for 32 pairs and count
    assert kernel.get("spills", 0) == 0


@pytest.mark.slow
@h100.needs_compiler
@pytest.mark.parametrize("k", [10, 1000])
def test_h100_search_sorts_only_what_it_found(k):
    rows, queries = gpu_search.padded_items(1_000_000), 1000
    facts = h100.compiled(
        "dsh_jax.retrieval.gpu_search:nearest",
        ((queries, 2), "uint32"),
        ((rows, 2), "uint32"),
        ((64, rows // gpu_search.PART, gpu_search.PART // 32), "uint32"),
        ((), "int32"),
        k=k,
    )
    assert set(facts["custom_calls"]) == {"__gpu$xla.gpu.triton"}
    assert facts["largest_sort"] == k
    assert not {"scatter", "while"} & set(facts["others"])
    assert len(facts["kernels"]) == 2
    assert all(kernel.get("spills", 0) == 0 for kernel in facts["kernels"])
    assert facts["temporary"] < 20 * queries * k + 2**24


@pytest.mark.slow
def test_items_count_in_classes_as_in_order():
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 30, 6), random_codes(rng, 9001, 6)
    label = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, 9001), :3]
    index = retrieval.Index(database, 48, label)
    counts = [
        index.counts(query, label[:30], shared=(1, 2), method=method)
        for method in ("bit_planes", "gpu_planes", "gpu_classes")
    ]
    for found in counts[1:]:
        jax.tree.map(np.testing.assert_array_equal, found, counts[0])
