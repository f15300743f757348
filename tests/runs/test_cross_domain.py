"""A run's network on images that it was not trained on: their pixels, codes and numbers."""

import json

import numpy as np
import photographs
import pytest
import tensorflow as tf
import tiny
from commands import command, last_line
from etils import epath

from configs import folder as folder_config
from dsh_jax import pictures
from dsh_jax.data.images import ArrayImages
from dsh_jax.evaluation import results
from dsh_jax.pictures.fast import resize
from dsh_jax.runs import cross_domain
from dsh_jax.training import build
from dsh_jax.training.records import read_metrics


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A folder of 240 pictures of three classes, no classes or images of the run."""
    root = epath.Path(tmp_path_factory.mktemp("pets"))
    for row in range(240):
        photographs.write(root / ("cat", "dog", "owl")[row % 3] / f"{row}.png", row)
    return root


@pytest.fixture(scope="module")
def config(pets):
    """Their config, of photographs of 64×64 pixels."""
    config = folder_config.get_config()
    config.data.data_dir = str(pets)
    config.data.queries = 100
    config.data.train_rows = 60
    return config


@pytest.fixture(scope="module")
def other(config, run):
    return cross_domain.load_other(config, tiny.config(), run)


@pytest.fixture(scope="module")
def found(other, config, run, evaluation):
    return cross_domain.evaluate_on(other, config, tiny.config(), run, evaluation)


def noise(shape, rows=6):
    rng = np.random.default_rng(0)
    return ArrayImages(rng.integers(0, 256, (rows, *shape), np.uint8))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (40, 30, 3)])
@pytest.mark.parametrize("wanted", [(28, 28, 1), (32, 32, 3)])
def test_images_are_resized_and_recoloured_as_training_and_encoding_do(shape, wanted):
    images = noise(shape)
    fitted = cross_domain.FittedImages(images, wanted)
    rows = np.array([[4, 0], [5, 5]])
    expected = [
        pictures.to_channels(resize(tf.constant(image), *wanted[:2]).numpy(), wanted[2])
        for image in images.take(rows.ravel())
    ]
    taken = fitted.take(rows)
    assert taken.dtype == np.uint8
    np.testing.assert_array_equal(taken, np.stack(expected).reshape(2, 2, *wanted))
    np.testing.assert_array_equal(fitted.select(np.array([3, 4])).take(np.array(1)), taken[0, 0])


def test_images_of_the_wanted_shape_keep_their_pixels():
    images = noise((28, 28, 1))
    fitted = cross_domain.FittedImages(images, (28, 28, 1))
    np.testing.assert_array_equal(fitted.take(np.arange(6)), images.take(np.arange(6)))
    assert fitted.take(np.zeros((0, 2), np.int64)).shape == (0, 2, 28, 28, 1)
    assert len(fitted) == 6


def test_photographs_are_decoded_at_the_size_of_the_network(other, run):
    assert other.images.images.shape == (32, 32, 3)
    assert other.images.shape == run.source.images.shape == (32, 32, 1)
    grey = pictures.to_channels(photographs.colour(7)[None], 1)[0]
    row = other.images.name_N.tolist().index("dog/7.png")
    np.testing.assert_array_equal(other.images.take(np.array(row)), np.full((32, 32, 1), grey))


def test_the_config_of_the_other_data_set_is_not_changed(other, config):
    assert config.data.image_size == 64


def test_the_data_set_of_the_run_is_refused(run):
    with pytest.raises(ValueError, match="digits is the data set that the run was trained on"):
        cross_domain.load_other(tiny.config(data__queries=50), tiny.config(), run)


def test_the_same_images_under_another_name_are_refused(run, tmp_path):
    image, label = run.source.images.take(np.arange(1797)), run.source.label_NxC.argmax(1)
    held = {"labels": label, "label_names": run.source.label_names}
    np.savez(tmp_path / "copy.npz", images=image, **held)
    copy = tiny.config(data__name="npz", data__data_dir=str(tmp_path / "copy.npz"))
    with pytest.raises(ValueError, match="npz is the data set that the run was trained on"):
        cross_domain.load_other(copy, tiny.config(), run)
    np.savez(tmp_path / "copy.npz", images=255 - image, **held)
    assert len(cross_domain.load_other(copy, tiny.config(), run)) == 1797


def test_data_that_are_not_there_are_refused(config, run, tmp_path):
    absent = config.copy_and_resolve_references()
    absent.data.data_dir = str(tmp_path / "absent")
    with pytest.raises(ValueError, match="which does not exist: set it to where the files of"):
        cross_domain.load_other(absent, tiny.config(), run)


def test_mean_average_precision_is_that_of_the_other_labels(found, other, config, run, evaluation):
    split = build.load_split(config, other)

    rows = np.concatenate([split.query, split.database])
    image = np.zeros((256, 32, 32, 1), np.uint8)
    image[: len(rows)] = other.images.take(rows)
    packed = run.encoder(evaluation.variables, image.reshape(4, 64, 32, 32, 1))[0]
    packed = np.asarray(packed).reshape(256, 2)
    queries = len(split.query)
    result = results.retrieve(
        packed[:queries],
        other.label_NxC[split.query],
        packed[queries : len(rows)],
        other.label_NxC[split.database],
        bits=12,
    )
    assert found.metrics["database=protocol"] == result.metrics
    assert list(found.metrics) == ["database=protocol", "database=train", "database=unseen"]
    label = other.label_NxC
    relevant = (label[split.query] @ label[split.database].T > 0).mean()
    assert result.metrics["chance"] == pytest.approx(relevant)


def test_facts_say_what_was_seen_and_what_was_not(found, evaluation):
    assert (found.data, found.step) == ("folder", evaluation.step)
    assert found.facts["Trained on"] == "digits alone: the run saw no image or label of these"
    assert found.facts["Rows"].startswith("query 100, protocol 140, train 57, unseen 80 (hash ")
    assert found.facts["Images"] == "32×32×3 brought to 32×32×1"
    assert found.facts["Chance level"].startswith("mAP 0.3")


def test_galleries_are_of_the_other_images_and_then_of_the_run(found, run, evaluation, other):
    among_others, among_own = found.galleries.values()
    assert list(found.galleries) == [
        "folder among folder, database=protocol",
        "folder among this run's digits, database=train",
    ]
    np.testing.assert_array_equal(among_others.query_image, among_own.query_image)
    assert set(among_others.query_label) <= {"cat", "dog", "owl"}
    assert set(np.ravel(among_others.neighbour_label)) <= {"cat", "dog", "owl"}
    assert among_others.relevant.shape == (5, 10)
    # Labels of the run's database say nothing of the queries.
    assert among_own.relevant is None
    assert set(np.ravel(among_own.neighbour_label)) <= set("0123456789")
    own = run.source.images.take(evaluation.rows["train"])
    for image in among_own.neighbour_image.reshape(-1, 32, 32, 1):
        assert (image == own).all(axis=(1, 2, 3)).any()


@pytest.mark.slow
def test_command_evaluates_on_another_data_set(pets, found, folder):
    changed = {"data_dir": pets, "queries": 100, "train_rows": 60}
    settings = [f"--on.data.{name}={value}" for name, value in changed.items()]
    done = command("evaluate", f"--workdir={folder}", "--on=configs/folder.py", *settings)
    assert done.returncode == 0, done.stderr
    kept = json.loads((folder / "eval" / "on_folder.json").read_text())
    first = kept["metrics"]["database=protocol"]["map"]
    # On another number of devices, a rounding may turn a bit.
    assert first == pytest.approx(found.metrics["database=protocol"]["map"], abs=5e-3)
    own, printed = done.stdout.split("on folder\n")
    assert f"{first:.4f}" in printed
    assert "accuracy" in own
    assert "accuracy" not in printed  # the network knows other classes
    page = (folder / "report.html").read_text()
    section = page.split("<h2>Images of other data sets</h2>")[1].split("</section>")[0]
    assert "<h3>folder</h3>" in section
    assert f"<td>{first:.4f}</td>" in section
    assert section.count('<ol class="neighbours">') == 10
    assert len([r for r in read_metrics(folder / "metrics.jsonl") if "eval/map" in r]) == 1


def test_run_without_a_network_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(tiny.config(method="itq").to_dict()))
    done = command("evaluate", f"--workdir={tmp_path}", "--on=configs/folder.py")
    assert done.returncode == 1
    assert "is a run of itq, which fits features" in last_line(done.stderr)
    assert "Traceback" not in done.stderr
