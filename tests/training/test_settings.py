"""Durations, and the parts of the network whose kernels decay."""

import re

import pytest
import tiny

from dsh_jax.training import settings


@pytest.mark.parametrize(
    ("steps", "epochs", "wanted"), [(7, 0.0, 7), (0, 2.5, 250), (0, 0.001, 0), (0, 0.0, 0)]
)
def test_duration_is_in_steps_or_in_epochs(steps, epochs, wanted):
    given = {"warm_steps": steps, "warm_epochs": epochs}
    assert settings.duration(given, "warm", 100) == wanted


@pytest.mark.parametrize(("steps", "epochs"), [(7, 1.0), (-1, 0.0), (0, -0.5)])
def test_duration_is_not_in_both_nor_below_zero(steps, epochs):
    given = {"warm_steps": steps, "warm_epochs": epochs}
    message = re.escape(f"warm_steps is {steps} and warm_epochs is {epochs}: set one of them")
    with pytest.raises(ValueError, match=message):
        settings.duration(given, "warm", 100)


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({}, ("encoder", "bcoding", "classifier")),
        ({"loss__r": 1.0}, ("encoder", "bcoding", "classifier", "decoder")),
        ({"loss__r": 1.0, "method": "hashnet"}, ("encoder", "bcoding")),
        ({"training__freeze": "encoder"}, ("bcoding", "classifier")),
        ({"loss__x": 0.0}, ("encoder", "bcoding")),
        ({"optimizer__weight_decay_kernels": "classifier"}, ("classifier",)),
    ],
)
def test_w_is_the_kernels_of_what_the_stage_trains(changed, parts):
    config = tiny.config(**changed)
    decode = config.loss.r > 0 and config.method == "dhs"
    assert settings.decayed_parts(config, decode=decode) == parts
