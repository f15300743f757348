"""Runs of shallow methods leave what other runs leave, and learn something."""

import dataclasses
import json

import numpy as np
import pytest
from commands import command, last_line
from etils import epath

from configs import digits
from dsh_jax.data import splits
from dsh_jax.data.images import FeatureImages
from dsh_jax.evaluation import code_files
from dsh_jax.runs import shallow
from dsh_jax.training import build
from dsh_jax.training.records import read_metrics


def config_of(method, **changes):
    config = digits.get_config("smoke")
    config.method = method
    config.model.bits = 16
    config.shallow.anchors = 100
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def source():
    return build.load_source(config_of("itq"))


@pytest.mark.parametrize(
    ("method", "least"),
    [("lsh", 0.2), ("sh", 0.3), ("itq", 0.4), ("sdh", 0.75), ("bihalf", 0.4), ("adsh", 0.6)],
)
def test_a_run_is_fitted_ranked_and_written(source, tmp_path, method, least):
    config = config_of(method, **({"shallow.iterations": 4} if method == "adsh" else {}))
    split = build.load_split(config, source)
    ranked = shallow.run(config, source, split, tmp_path / "run")
    scalars = ranked.scalars()
    assert scalars["eval/chance"] + 0.05 < least < scalars["eval/map"] < 1
    folder = epath.Path(tmp_path / "run")
    (record,) = read_metrics(folder / "metrics.jsonl")
    assert record["eval/map"] == pytest.approx(scalars["eval/map"])
    assert record["eval_unseen/map"] == pytest.approx(scalars["eval_unseen/map"])
    assert splits.load(folder / "split.npz").hash == split.hash
    # The codes can be evaluated again from their file.
    assert code_files.load(folder / "eval" / "0.npz") is not None
    # Again, with the same result in its place.
    assert shallow.run(config, source, split, folder).scalars() == scalars
    assert len(read_metrics(folder / "metrics.jsonl")) == 1


def test_unlabelled_rows_show_no_labels_to_sdh(source):
    config = config_of("sdh", **{"data.label_fraction": 0.2})
    split = build.load_split(config, source)
    feature = shallow.features_of(source, kind="pixels")
    _, wanted = shallow.fit(config, feature, source.label_NxC, split)
    hidden = source.label_NxC.copy()
    hidden[split.unlabelled] = np.roll(hidden[split.unlabelled], 1, axis=1)
    hidden[split.query] = 0
    _, found = shallow.fit(config, feature, hidden, split)
    np.testing.assert_array_equal(found.weight_JxK, wanted.weight_JxK)


def test_features_from_a_file_and_what_is_refused(source, tmp_path):
    pixels = shallow.features_of(source, kind="pixels")
    assert pixels.shape == (1797, 32 * 32)
    np.save(tmp_path / "own.npy", pixels * 2)
    own = shallow.features_of(source, kind="file", path=str(tmp_path / "own.npy"))
    np.testing.assert_array_equal(own, pixels * 2)
    with pytest.raises(ValueError, match="it must be 'pixels', 'gist', 'vggf', 'file' or one of"):
        shallow.features_of(source, kind="sift")
    with pytest.raises(ValueError, match=r"needs weights.*imagenet-vgg-f\.mat"):
        shallow.features_of(source, kind="vggf")


def test_a_frozen_encoder_changes_nothing_of_what_is_hashed(source):
    images = FeatureImages(
        lambda: np.zeros((len(source), 3), np.float32), 3, source.pictures, np.arange(len(source))
    )
    frozen = dataclasses.replace(source, images=images)
    np.testing.assert_array_equal(
        shallow.features_of(frozen, kind="pixels"), shallow.features_of(source, kind="pixels")
    )


def test_the_training_command_runs_shallow_methods(tmp_path):
    flags = ["--config=configs/digits.py:smoke", "--config.method=itq", "--config.model.bits=16"]
    shown = command("train", *flags, f"--workdir={tmp_path / 'run'}")
    assert shown.returncode == 0, shown.stderr
    said = json.loads(last_line(shown.stdout))
    assert said["method"] == "itq"
    assert 0.4 < said["map"] < 1
