"""Networks on features in place of images: those of people, and a pretrained network's."""

import numpy as np
import pytest
import tiny

from dsh_jax.data.images import FeatureImages
from dsh_jax.methods import features
from dsh_jax.runs import evaluate, train
from dsh_jax.training import build


@pytest.fixture(scope="module")
def feature_file(tmp_path_factory):
    """Pixels of digits, turned at random: features that tell digits apart."""
    source = tiny.run().source
    pixels = source.images.take(np.arange(len(source))).reshape(len(source), -1) / 255.0
    turn = np.random.default_rng(0).normal(size=(pixels.shape[1], 64)) / 32
    path = tmp_path_factory.mktemp("features") / "digits.npy"
    return features.save_features(path, [(pixels @ turn).astype(np.float32)], len(source))


def on_features(path, **changed):
    settings = {
        "model__encoder": "features",
        "data__features_path": str(path),
        "model__fc_dim": 32,
        "training__mode": "joint",
        "training__batch_size": 64,
        "training__hashing_steps": 40,
        "training__log_every_steps": 20,
        "optimizer__learning_rate": 1e-2,
    }
    return tiny.config(**settings | changed)


def test_a_network_learns_from_features_and_its_report_shows_the_pictures(feature_file, tmp_path):
    config = on_features(feature_file, evaluation__validate_every_steps=40)
    run = build.build(config)
    assert run.source.images.shape == (1, 1, 64)
    assert run.source.pictures.shape == (32, 32, 1)
    assert train.train(config, tmp_path / "run", described=run)
    found = evaluate.evaluate_run(config, run, tmp_path / "run")
    metrics = found.results["train"].metrics
    assert metrics["map"] > metrics["chance"] + 0.2
    assert set(found.variables["params"]["encoder"]) == {"fc6", "fc7"}
    assert "decoder" not in found.variables["params"]


def test_rows_keep_their_features_in_every_selection(feature_file):
    source = build.build(on_features(feature_file)).source
    whole = np.load(feature_file)
    rows = np.array([5, 3, 1000])
    part = source.select(rows)
    np.testing.assert_array_equal(part.images.take(np.arange(3))[:, 0, 0], whole[rows])
    np.testing.assert_array_equal(part.select([1]).images.take([[0]])[0, 0, 0, 0], whole[3])
    np.testing.assert_array_equal(part.pictures.take([0]), source.pictures.take([5]))
    assert isinstance(part.images, FeatureImages)


def test_images_are_only_encoded_by_what_saw_images(feature_file, tmp_path):
    from dsh_jax.runs import exported

    config = on_features(feature_file, training__hashing_steps=2)
    run = build.build(config)
    assert train.train(config, tmp_path / "run", described=run)
    with pytest.raises(ValueError, match="trained on features computed elsewhere"):
        exported.of_run(config, run, tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model__encoder": "resnet"}, "model.encoder is 'resnet'; it must be one of conv, effic"),
        (
            {"model__encoder": "features"},
            "data.features_path '': set both, the first to 'features'",
        ),
        (
            {"data__features_path": "a.npy"},
            "model.encoder is 'conv' and data.features_path 'a.npy'",
        ),
        (
            {"training__freeze": "backbone"},
            "model.encoder is 'conv': only a pretrained encoder has",
        ),
        ({"model__encoder": "efficientnet_lite0"}, "have 1 channel, but efficientnet_lite0 was"),
    ],
)
def test_what_does_not_go_together_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        build.build(tiny.joint(**changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training__mode": "two_stage"}, "has no decoder: set training.mode='joint' and loss.r=0"),
        ({"loss__r": 1.0}, "has no decoder"),
        ({"evaluation__views": 2}, "features have one view: set evaluation.views=1"),
    ],
)
def test_what_needs_images_is_refused(feature_file, changed, message):
    with pytest.raises(ValueError, match=message):
        build.build(on_features(feature_file, **changed))


def test_features_of_other_rows_are_refused(feature_file, tmp_path):
    path = tmp_path / "short.npy"
    np.save(path, np.load(feature_file)[:-1])
    with pytest.raises(ValueError, match="1,796 rows, the data set 1,797"):
        build.build(on_features(path))
