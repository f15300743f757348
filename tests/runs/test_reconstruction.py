"""Images rebuilt by the decoder of a run."""

import chex
import jax
import numpy as np
import pytest
import tiny

from dsh_jax.augment import pad_small, to_unit
from dsh_jax.runs import exported, reconstruction
from dsh_jax.training import checkpoint


def test_images_are_those_of_the_decoder(run, folder):
    encoder = exported.of_run(tiny.config(), run, folder)
    image = run.source.images.take(np.arange(3))
    rebuilt = np.asarray(reconstruction.rebuild(run.model, encoder.variables, image))
    outputs = jax.jit(run.model.apply)(encoder.variables, pad_small(to_unit(image)))
    assert rebuilt.dtype == np.uint8
    assert rebuilt.shape == (3, 32, 32, 1)
    assert np.abs(rebuilt - 255 * np.asarray(outputs.decoded)).max() < 0.51
    assert rebuilt.std() > 0


@pytest.fixture(scope="module")
def intact_of(run, folder):
    variables = {"params": "evaluated"}

    def intact_of(**changed):
        return reconstruction.intact(
            tiny.config(**changed), run, folder, step=7, variables=variables
        )

    return intact_of


def test_pictures_come_from_the_end_of_the_autoencoder_where_hashing_leaves_the_decoder(
    run, folder, intact_of
):
    found = intact_of(loss__r=0.0)
    assert found.step == run.stages[0].stop == 4
    assert found.words == "the autoencoder at the end of its stage, after step 4"
    saved = checkpoint.at(folder, 4, run.state_shapes).state
    chex.assert_trees_all_equal(found.variables, saved.evaluation_variables())
    assert intact_of(loss__r=1.0, method="hashnet").step == 4  # which decodes nothing either


def test_pictures_come_from_the_evaluated_network_where_hashing_trains_its_decoder(intact_of):
    for mode in ("two_stage", "joint"):
        found = intact_of(loss__r=0.5, training__mode=mode)
        assert (found.step, found.variables) == (7, {"params": "evaluated"})


def test_without_a_decoder_or_its_state_there_are_no_pictures(run, intact_of, tmp_path):
    assert intact_of(loss__r=0.0, training__mode="joint") is None
    assert intact_of(loss__r=0.5, training__mode="joint", method="hashnet") is None
    assert reconstruction.intact(tiny.config(), run, tmp_path, step=7, variables={}) is None
