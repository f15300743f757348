"""Populations are cut where a device's memory would not hold them."""

import pytest
import tiny

from dsh_jax.runs import capacity
from dsh_jax.training import build


@pytest.mark.parametrize(
    ("points", "memory", "devices", "sizes"),
    [
        (8, 0, 1, [8]),  # nothing is known
        (8, 1000, 1, [8]),  # 8 fit into .8 of it
        (9, 1000, 1, [5, 4]),
        (8, 300, 1, [2, 2, 2, 2]),
        (8, 50, 1, [1] * 8),  # too small for one: it is tried all the same
        (8, 300, 4, [8]),
        (12, 300, 4, [8, 4]),
        (10, 100, 4, [4, 4, 2]),
    ],
)
def test_points_are_cut_by_memory(points, memory, devices, sizes):
    found = capacity.parts(range(points), point=100, memory=memory, devices=devices)
    assert [len(part) for part in found] == sizes
    assert [point for part in found for point in part] == list(range(points))


def test_a_point_takes_its_state_and_what_its_batch_makes():
    config = tiny.joint()
    small = capacity.point_bytes(build.build(config), decode=False)
    config.training.batch_size *= 2
    large = capacity.point_bytes(build.build(config), decode=False)
    assert small < large < 2 * small
    decoding = capacity.point_bytes(build.build(config), decode=True)
    assert decoding > large
