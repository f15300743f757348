"""The bar of bits: what is drawn, as a browser reads it."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest

from dsh_jax.page import code_bar


def drawn(svg):
    """Return the kind of each bit by its place: (x, y) to class."""
    root = xml.etree.ElementTree.fromstring(svg)
    return {
        (float(x), float(y)): path.attrib["class"]
        for path in root
        for x, y in re.findall(r"M([\d.]+) ([\d.]+)h", path.attrib["d"])
    }


def test_each_bit_has_its_place_and_kind():
    bit_K = np.array([1, 0, 1, 0, 0, 0, 0, 0, 1])
    differs_K = np.array([1, 0, 0, 1, 0, 0, 0, 0, 1], bool)
    svg = code_bar.svg(bit_K, used=8, differs_K=differs_K)
    assert drawn(svg) == {
        (0.5, 0.5): "one differs",
        (6.5, 0.5): "zero",
        (12.5, 0.5): "one",
        (18.5, 0.5): "zero differs",
        **{(6 * k + 0.5, 0.5): "zero" for k in range(4, 8)},
        (52.5, 0.5): "one unused",  # after the gap of 4
    }
    assert 'aria-label="9 bits, 3 of them 1, 8 used, 2 differ"' in svg
    assert 'viewBox="0 0 58 18"' in svg


def test_rows_are_filled_in_order():
    places = drawn(code_bar.svg(np.ones(20, int), columns=8))
    assert sorted({y for _, y in places}) == [0.5, 22.5, 44.5]
    assert sum(y == 44.5 for _, y in places) == 4


@pytest.mark.parametrize("bits", [[], [[0, 1]], [0, 2], [0.5]])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match="pass \\(K,\\) values of 0 or 1"):
        code_bar.svg(np.array(bits))
