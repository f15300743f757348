"""A model's name follows from all that its codes follow from, and from nothing else."""

import numpy as np
import pytest

from dsh_jax.collection.fingerprint import fingerprint, preparation

SETTINGS = {"bits": 12, "shape": (32, 32, 1), "preparation": preparation("squash")}


def weights():
    return {"params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "batch_stats": {}}


def test_equal_models_have_one_name():
    name = fingerprint(weights(), **SETTINGS)
    assert len(name) == 16
    assert int(name, 16)
    assert fingerprint(weights(), **SETTINGS) == name
    # Whether the shape is of Python's integers or of numpy's.
    assert fingerprint(weights(), **SETTINGS | {"shape": np.array([32, 32, 1])}) == name
    # A file of weights has no place for an empty branch.
    assert fingerprint({"params": weights()["params"]}, **SETTINGS) == name


@pytest.mark.parametrize(
    "changed",
    [{"bits": 11}, {"shape": (32, 32, 3)}, {"preparation": preparation("crop")}],
)
def test_another_setting_is_another_model(changed):
    assert fingerprint(weights(), **SETTINGS | changed) != fingerprint(weights(), **SETTINGS)


def test_another_weight_is_another_model():
    changed = weights()
    changed["params"]["kernel"][1, 2] = np.nextafter(np.float32(5), np.float32(6))
    assert fingerprint(changed, **SETTINGS) != fingerprint(weights(), **SETTINGS)
    renamed = {"params": {"bias": weights()["params"]["kernel"]}}
    assert fingerprint(renamed, **SETTINGS) != fingerprint(weights(), **SETTINGS)
