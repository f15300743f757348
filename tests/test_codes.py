"""Bits, bytes and distances against numpy; code health against numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import codes

seeds = st.integers(0, 2**32 - 1)
bit_counts = st.sampled_from([1, 7, 8, 9, 12, 32, 48, 65])


def random_bits(seed, rows, bits):
    return np.random.default_rng(seed).integers(0, 2, (rows, bits), dtype=np.uint8)


def test_binarize_puts_exact_zero_at_bit_0():
    bit = codes.binarize(jnp.array([[-1.0, -0.0, 0.0, 1e-30, 2.0]]))
    assert bit.dtype == jnp.uint8
    np.testing.assert_array_equal(bit, [[0, 0, 0, 1, 1]])


def test_first_bit_is_the_lowest_of_the_first_byte():
    bit = np.zeros((1, 9), np.uint8)
    bit[0, [0, 2, 8]] = 1
    np.testing.assert_array_equal(codes.pack_bits(bit), [[0b101, 1]])


@settings(deadline=None, max_examples=30)
@given(seed=seeds, bits=bit_counts)
def test_pack_is_numpy_little_endian_and_unpack_inverts_it(seed, bits):
    bit = random_bits(seed, 5, bits)
    packed = codes.pack_bits(bit)
    np.testing.assert_array_equal(packed, np.packbits(bit, axis=1, bitorder="little"))
    np.testing.assert_array_equal(codes.unpack_bits(packed, bits), bit)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, bits=bit_counts)
def test_hamming_distance_counts_differing_bits(seed, bits):
    query, database = random_bits(seed, 3, bits), random_bits(seed + 1, 6, bits)
    wanted = (query[:, None] != database[None]).sum(axis=-1)
    packed = codes.pack_bits(query), codes.pack_bits(database)
    distance = codes.hamming_distance(*packed)
    assert distance.dtype == jnp.int32
    np.testing.assert_array_equal(distance, wanted)
    by_words = codes.hamming_distance(*map(codes.pack_words, packed))
    np.testing.assert_array_equal(by_words, wanted)


def test_pack_words_pads_with_zero_bytes():
    words = codes.pack_words(np.full((2, 5), 255, np.uint8))
    np.testing.assert_array_equal(words, np.array([[2**32 - 1, 255]] * 2, np.uint32))


def test_code_health_worked_by_hand():
    bit = np.array([[0, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]], np.uint8)
    health = codes.code_health(bit, np.abs(bit - 0.25))
    np.testing.assert_allclose(health.pop("bit_mean_K"), [0.25, 1.0, 0.5])
    quarter = -0.25 * np.log2(0.25) - 0.75 * np.log2(0.75)
    assert health == {
        "bit_mean_min": 0.25,
        "bit_mean_max": 1.0,
        "bit_entropy": pytest.approx((quarter + 0 + 1) / 3, abs=1e-6),
        "dead_bits": 1.0,
        "distinct_codes": 0.75,
        "quantization_gap": 0.25,
    }


def test_code_health_of_identical_codes():
    health = codes.code_health(np.ones((6, 12), np.uint8), np.ones((6, 12), np.float32))
    assert health["dead_bits"] == 12
    assert health["bit_entropy"] == 0
    assert health["distinct_codes"] == pytest.approx(1 / 6)
    assert health["quantization_gap"] == 0


def byte_rows(rows, width):
    return np.zeros((rows, width), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: codes.unpack_bits(byte_rows(2, 2), 17), "codes has 2 bytes a row, but bits=17"),
        (
            lambda: codes.unpack_bits(byte_rows(2, 2).astype(np.int32), 16),
            "type int32; wanted .* uint8 array; pack 0/1 bits with pack_bits",
        ),
        (
            lambda: codes.hamming_distance(byte_rows(2, 2), byte_rows(3, 1)),
            r"query \(2, 2\) uint8, database \(3, 1\) uint8; pack both",
        ),
        (
            lambda: codes.code_health(byte_rows(2, 3), byte_rows(3, 3)),
            r"bit has shape \(2, 3\) and bcoding \(3, 3\); pass two",
        ),
        (lambda: codes.code_health(byte_rows(0, 3), byte_rows(0, 3)), "N and K at least 1"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
