"""mAP of each class against a loop."""

import math

import numpy as np

from dsh_jax.evaluation.by_class import by_class


def test_a_query_counts_for_each_of_its_classes():
    label = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    found = by_class(np.array([0.25, 0.75, 1.0, 0.1]), label, ["cat", "dog", "owl", "rat"])
    assert [(one.name, one.queries, one.map) for one in found] == [
        ("owl", 1, 0.1),
        ("cat", 2, 0.5),
        ("dog", 2, 0.875),
    ]
    assert math.isnan(found[0].low)
    assert math.isnan(found[0].high)
    assert (found[1].low, found[1].high) == (0.25, 0.75)


def test_the_interval_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    value = rng.random(400)
    (one,) = by_class(value, np.ones((400, 1)), ["all"])
    half = 1.96 * value.std() / 20
    np.testing.assert_allclose([one.low, one.high], [one.map - half, one.map + half], atol=4e-3)
