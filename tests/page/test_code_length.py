"""Codes cut to their first bits, against the same codes packed from fewer bits."""

import numpy as np
import pytest

from dsh_jax.page import code_length

RNG = np.random.default_rng(0)
BIT_NxK = RNG.integers(0, 2, (60, 20))
PACKED_NxW = np.packbits(BIT_NxK, axis=1, bitorder="little")


@pytest.mark.parametrize("bits", [1, 7, 8, 13, 20, 24])
def test_the_first_bits_alone_are_left(bits):
    kept = np.unpackbits(
        code_length.first_bits(PACKED_NxW, bits), axis=1, count=20, bitorder="little"
    )
    np.testing.assert_array_equal(kept[:, :bits], BIT_NxK[:, :bits])
    assert not kept[:, bits:].any()


@pytest.mark.parametrize("bits", [1, 5, 11, 20])
def test_a_cut_ranks_by_the_first_bits(bits):
    found = code_length.cut(PACKED_NxW[:1], code_length.Cuts(PACKED_NxW), bits, 10)
    differs = BIT_NxK[0] != BIT_NxK
    distance, whole = differs[:, :bits].sum(axis=1), differs.sum(axis=1)
    wanted, best = (np.argsort(x, kind="stable")[:10] for x in (distance, whole))
    np.testing.assert_array_equal(found.row_k, wanted)
    np.testing.assert_array_equal(found.distance_k, distance[wanted])
    assert found.bits == bits
    assert found.same == np.sum(distance == 0)
    assert found.kept == len(set(wanted) & set(best))


def test_a_length_is_arranged_once():
    cuts = code_length.Cuts(PACKED_NxW)
    assert cuts.index(5) is cuts.index(5)
    assert cuts.index(5) is not cuts.index(6)


def test_the_whole_code_keeps_all():
    assert code_length.cut(PACKED_NxW[3:4], code_length.Cuts(PACKED_NxW), 20, 60).kept == 60


@pytest.mark.parametrize("bits", [0, -1, 25])
def test_other_lengths_are_refused(bits):
    with pytest.raises(ValueError, match="codes of 3 bytes have 1 to 24 bits"):
        code_length.first_bits(PACKED_NxW, bits)


def test_other_codes_are_refused():
    with pytest.raises(ValueError, match="wanted a non-empty"):
        code_length.first_bits(PACKED_NxW.astype(int), 3)


def test_lengths_are_parts_of_the_code():
    assert code_length.lengths(48) == (6, 12, 24, 36, 48)
    assert code_length.lengths(3) == (1, 2, 3)
    assert code_length.lengths(1) == (1,)
