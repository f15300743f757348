"""Images rebuilt by the decoder of a run."""

import jax
import numpy as np
import pytest
import tiny

from dsh_jax import exported, reconstruction
from dsh_jax.augment import pad_small, to_unit


def test_images_are_those_of_the_decoder(run, folder):
    encoder = exported.of_run(tiny.config(), run, folder)
    image = run.source.images.take(np.arange(3))
    rebuilt = np.asarray(reconstruction.rebuild(run.model, encoder.variables, image))
    outputs = jax.jit(run.model.apply)(encoder.variables, pad_small(to_unit(image)))
    assert rebuilt.dtype == np.uint8
    assert rebuilt.shape == (3, 32, 32, 1)
    assert np.abs(rebuilt - 255 * np.asarray(outputs.decoded)).max() < 0.51
    assert rebuilt.std() > 0


@pytest.mark.parametrize(
    ("r", "mode", "trained"),
    [(0.0, "two_stage", True), (0.5, "joint", True), (0.0, "joint", False)],
)
def test_a_decoder_is_trained_by_its_loss_or_its_stage(r, mode, trained):
    config = tiny.config(loss__r=r, training__mode=mode)
    assert reconstruction.is_trained(config) == trained
