"""What searches cost, on codes of which it is known what each finds."""

import numpy as np
import pytest

from dsh_jax.index import cost


@pytest.fixture(scope="module")
def measured():
    """Costs of 40 queries among 2,000 codes of 24 bits around ten centres."""
    rng = np.random.default_rng(0)
    number_N = rng.integers(0, 10, 2040)
    bit = rng.integers(0, 2, (10, 24))[number_N] ^ (rng.random((2040, 24)) < 0.1)
    packed = np.packbits(bit.astype(np.uint8), axis=1, bitorder="little")
    label = np.eye(10, dtype=np.uint8)[number_N]
    arrays = packed[:40], label[:40], packed[40:], label[40:]
    return cost.costs(*arrays, bits=24, k=20), arrays


def of(measured, method):
    return [one for one in measured[0] if one.method == method]


def test_all_codes_find_all(measured):
    (one,) = of(measured, "all codes")
    assert (one.recall, one.compared, one.empty, one.buckets) == (1, 1, 0, 0)
    assert one.precision > 0.9
    assert all(other.microseconds > 0 for other in measured[0])


def test_looking_further_finds_more_and_compares_more(measured):
    for method in {one.method for one in measured[0]}:
        ways = of(measured, method)
        for value in ("recall", "compared", "buckets"):
            found = [getattr(one, value) for one in ways]
            assert found == sorted(found), (method, value)
        empty = [one.empty for one in ways]
        assert empty == sorted(empty, reverse=True)


def test_a_lookup_finds_what_lies_within_the_radius(measured):
    query, _, database, _ = measured[1]
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1)
    furthest = np.sort(distance, axis=1)[:, 19]
    for radius, one in enumerate(of(measured, "lookup within a radius")):
        is_found = distance <= radius
        assert one.compared == pytest.approx(is_found.mean())
        assert one.empty == pytest.approx((~is_found.any(axis=1)).mean())
        near = is_found & (distance <= furthest[:, None])
        assert one.recall == pytest.approx(np.minimum(near.sum(axis=1), 20).mean() / 20)
    assert radius == 3


def test_multi_index_hashing_finds_what_lies_within_its_reach(measured):
    query, _, database, _ = measured[1]
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1)
    furthest = np.sort(distance, axis=1)[:, 19]
    for one in of(measured, "multi-index hashing"):
        tables, _, _, reach = one.setting.split()
        assert tables == "2"
        within = np.minimum((distance <= np.minimum(furthest, int(reach))[:, None]).sum(axis=1), 20)
        assert one.recall >= within.mean() / 20 - 1e-9


def test_the_table_has_a_line_for_each(measured):
    head, *lines = cost.table(measured[0]).splitlines()
    assert head.split()[0] == "search"
    assert len(lines) == len(measured[0])


def test_a_database_of_one_code_is_searched_too():
    code, label = np.array([[5]], np.uint8), np.ones((1, 1), np.uint8)
    found = cost.costs(code, label, code, label, bits=8, k=1)
    assert {one.recall for one in found} == {1.0}
