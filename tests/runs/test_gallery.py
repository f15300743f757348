"""The report shows the run's numbers, and the neighbours that its codes have."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from tensorboard.backend.event_processing import event_accumulator

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source, multi_hot
from dsh_jax.runs import gallery
from dsh_jax.training import stages


@pytest.fixture(scope="module")
def page(run, evaluation, folder):
    path = gallery.report_run(tiny.config(), run, evaluation, folder)
    assert path == folder / "report.html"
    return path.read_text()


def labelled_source():
    """Return images whose pixels are their row numbers; row 3 has two labels, row 4 none."""
    label_NxC = multi_hot(np.arange(8), 8)
    label_NxC[3, 0] = 1
    label_NxC[4] = 0
    image = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], (8, 32, 32, 1))
    return Source("rows", ArrayImages(image), label_NxC, tuple("abcdefgh"), multilabel=True)


def found(**options):
    """Search 0000 and 1111 of rows 0 and 1 among 0001, 0000, 1000, 1111 of rows 7, 3, 4, 1."""
    return gallery.neighbours(
        labelled_source(),
        np.array([0, 1]),
        np.array([[0b0000], [0b1111]], np.uint8),
        np.array([7, 3, 4, 1]),
        np.array([[0b0001], [0b0000], [0b1000], [0b1111]], np.uint8),
        **options,
    )


def test_neighbours_are_the_nearest_rows_the_first_of_equals_first():
    result = found(count=3)
    np.testing.assert_array_equal(result.distance, [[0, 1, 1], [0, 3, 3]])
    np.testing.assert_array_equal(result.neighbour_image[:, :, 0, 0, 0], [[3, 7, 4], [1, 7, 4]])
    np.testing.assert_array_equal(result.query_image[:, 0, 0, 0], [0, 1])


def test_neighbours_are_relevant_where_they_share_a_label():
    result = found(count=3)
    np.testing.assert_array_equal(result.relevant, [[True, False, False], [True, False, False]])


def test_labels_are_named():
    result = found(count=3)
    assert result.query_label == ["a", "b"]
    assert result.neighbour_label == [["a, d", "h", ""], ["b", "h", ""]]


def test_nothing_is_said_of_relevance_to_another_data_set():
    database = dataclasses.replace(labelled_source(), label_names=tuple("ABCDEFGH"))
    result = found(count=3, database=database)
    assert result.relevant is None
    assert result.query_label == ["a", "b"]
    assert result.neighbour_label == [["A, D", "H", ""], ["B", "H", ""]]
    np.testing.assert_array_equal(result.neighbour_image[:, :, 0, 0, 0], [[3, 7, 4], [1, 7, 4]])


def test_worst_and_best_queries_are_shown():
    ap_Q = np.array([0.5, 0.1, 0.9, 0.1, 1.0, 1.0])
    picks = gallery.pick_queries(ap_Q, np.random.default_rng(0), count=3)
    random, worst, best = picks.values()
    np.testing.assert_array_equal(worst, [1, 3, 0])
    np.testing.assert_array_equal(best, [4, 5])
    assert len(set(random.tolist())) == 3
    assert sorted(random) == random.tolist()


def test_a_small_database_gives_all_of_its_rows():
    assert found(count=10).distance.shape == (2, 4)


@pytest.fixture
def brighter(monkeypatch):
    """Let every run's augmentation add one level a draw, and tell which configs it saw."""
    seen = []

    def augmentation(config):
        seen.append(config)
        return lambda key_B, image: image + jnp.full((len(key_B), 1, 1, 1), 1 / 255)

    monkeypatch.setattr(stages, "augmentation", augmentation)
    return seen


def test_augmented_images_stand_behind_their_originals(brighter):
    described = types.SimpleNamespace(source=labelled_source())
    config = tiny.config()
    shown = gallery.augmented(config, described, np.array([2, 5]), draws=3)
    assert shown.dtype == np.uint8
    assert shown.shape == (2, 4, 32, 32, 1)
    np.testing.assert_array_equal(shown[:, :, 7, 9, 0], [[2, 3, 3, 3], [5, 6, 6, 6]])
    assert brighter == [config]


def test_nothing_is_shown_where_nothing_is_augmented(monkeypatch):
    monkeypatch.setattr(stages, "augmentation", lambda config: lambda _, image: image)
    described = types.SimpleNamespace(source=labelled_source())
    assert gallery.augmented(tiny.config(), described, np.array([2, 5])) is None


def test_page_shows_what_training_made_of_its_images(brighter, run, evaluation, folder):
    text = gallery.report_run(tiny.config(), run, evaluation, folder).read_text()
    assert "<h2>Augmented training images</h2>" in text
    assert text.count('<ol class="draws">') == 6
    assert text.count(", draw ") == 6 * 7


def test_first_database_is_the_headline(brighter, run, evaluation, folder):
    results = {"protocol": evaluation.results["unseen"], "train": evaluation.results["train"]}
    moved = {
        "results": results,
        "rows": evaluation.rows | {"protocol": evaluation.rows["unseen"]},
        "encoded": evaluation.encoded | {"protocol": evaluation.encoded["unseen"]},
    }
    path = gallery.report_run(tiny.config(), run, dataclasses.replace(evaluation, **moved), folder)
    text = path.read_text()
    assert text.index("database=<wbr>protocol") < text.index("database=<wbr>train")
    # The accuracy stands in the first column, and the second is empty.
    accuracy = f"<td>{evaluation.code['accuracy']:.4f}</td><td></td>"
    assert f'<th scope="row">Accuracy</th>{accuracy}' in text
    assert "nearest rows of database=protocol" in text
    assert f"mAP {results['protocol'].metrics['chance']:.4f} for a random ranking" in text


@pytest.mark.parametrize("part", ["train", "unseen"])
def test_page_shows_the_numbers(page, evaluation, part):
    for name in ("map", "map_optimistic", "precision_at_100"):
        assert f"<td>{evaluation.results[part].metrics[name]:.4f}</td>" in page


def test_page_shows_the_codes_and_their_classes(page, evaluation):
    code = evaluation.code
    for title, name in (("Distinct codes, share of the queries", "distinct_codes"),
                        ("|Activation − bit|, mean (0 is best)", "quantization_gap")):  # fmt: skip
        assert f'<th scope="row">{title}</th><td>{code[name]:.4f}</td>' in page
    assert "Correlation of two bits" in page
    assert "Principal components of database images" in page
    assert page.count('<th scope="row">9</th>') == 2  # its mAP, and its line in the confusion


def test_page_says_what_it_was_made_of(page, run, evaluation):
    assert "<h1>digits · 12 bits · intended</h1>" in page
    assert run.split.hash in page
    assert f"step {evaluation.step}, the best by validation mAP" in page
    assert "mAP 0.1" in page


def test_page_shows_queries_and_reconstructions(page):
    assert page.count('<ol class="neighbours">') == 10 + 10 + 5
    assert page.count('alt="reconstruction ') == 10


def test_page_of_a_network_without_decoder_shows_no_reconstructions(run, evaluation, folder):
    path = gallery.report_run(tiny.joint(), run, evaluation, folder)
    assert "Reconstructions" not in path.read_text()


def test_page_of_a_small_unseen_database_can_be_written(run, evaluation, folder):
    unseen = evaluation.results["unseen"]
    few = {name: value for name, value in unseen.metrics.items() if "precision_at" not in name}
    results = evaluation.results | {"unseen": dataclasses.replace(unseen, metrics=few)}
    path = gallery.report_run(
        tiny.config(), run, dataclasses.replace(evaluation, results=results), folder
    )
    assert f"<td>{few['map']:.4f}</td>" in path.read_text()


def test_reconstructions_are_images_of_the_size_that_the_network_sees(run, evaluation):
    original, decoded = gallery.reconstructions(run, evaluation.variables, np.arange(10))
    np.testing.assert_array_equal(original, run.source.images.take(np.arange(10)))
    assert decoded.shape == original.shape
    assert decoded.dtype == np.uint8


def test_tensorboard_holds_neighbours_reconstructions_and_activations(run, evaluation, folder):
    gallery.report_run(tiny.config(), run, evaluation, folder)
    held = event_accumulator.EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"tensors": 0}
    )
    held.Reload()
    tags = set(held.Tags()["tensors"])
    assert {
        "Queries drawn at random",
        "Queries with the lowest average precision",
        "Queries with the highest average precision",
        "Originals above, reconstructions below",
        "eval/bcoding",
        "eval/bit_mean",
        "eval/map",
    } <= tags


def test_sheet_has_a_row_for_each_query(run, evaluation):
    split = run.split
    shown = gallery.neighbours(
        run.source,
        split.query[:3],
        evaluation.encoded["query"].packed_NxW[:3],
        evaluation.rows["train"],
        evaluation.encoded["train"].packed_NxW,
        count=4,
    )
    sheet = gallery.neighbour_sheet(shown)
    one = gallery.contact_sheet.contact_sheet(shown.query_image, [""] * 3, columns=1)
    assert sheet.height == one.height
    assert sheet.width > 4 * one.width - 4 * 8
