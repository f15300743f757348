"""Batches: a function of the step in training; each row once, masked and in order, after it."""

import dataclasses
import itertools

import chex
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.pipeline import evaluation_batches, labelled_rows_per_batch, train_batches
from dsh_jax.data.source import Source, multi_hot

ROWS, CLASSES = 200, 3
# A row's number is its image's only pixel, so that a batch tells which rows it holds.
source = Source(
    name="counted",
    images=ArrayImages(np.arange(ROWS, dtype=np.uint8).reshape(ROWS, 1, 1, 1)),
    label_NxC=multi_hot(np.arange(ROWS) % CLASSES, CLASSES),
    label_names=("a", "b", "c"),
)
ten, nothing = np.arange(10), np.array([], np.int64)


def batches(labelled=ten, unlabelled=nothing, start=0, stop=4, **options):
    """The batches of steps start to stop - 1."""
    defaults = {"batch": 4, "labelled_share": 0.5, "devices": 1, "seed": 0}
    return list(
        train_batches(
            source, labelled, unlabelled, start_step=start, stop_step=stop, **(defaults | options)
        )
    )


def rows_of(batch, part=None):
    """The rows that a batch holds, device by device; labelled or not, or both."""
    row_DxB = batch["image"][..., 0, 0, 0]
    return row_DxB.ravel() if part is None else row_DxB[batch["is_labelled"] == part]


def sequence(found, part=None):
    return np.concatenate([rows_of(batch, part) for batch in found])


def epochs(rows, count):
    """The sequence cut into passes of `count` rows, whole ones only."""
    return rows[: len(rows) // count * count].reshape(-1, count)


# Training.


def test_batches_have_a_device_axis_and_their_types():
    batch = batches(unlabelled=np.arange(10, 30), batch=8, devices=4, stop=1)[0]
    chex.assert_shape(batch["image"], (4, 2, 1, 1, 1))
    chex.assert_shape(batch["label"], (4, 2, CLASSES))
    chex.assert_shape(batch["is_labelled"], (4, 2))
    types = {name: value.dtype for name, value in batch.items()}
    assert types == {"image": np.uint8, "label": np.float32, "is_labelled": bool}


def test_labels_are_those_of_their_images():
    for batch in batches(unlabelled=np.arange(10, 30), devices=2):
        is_labelled = batch["is_labelled"]
        np.testing.assert_array_equal(
            batch["label"][is_labelled], source.label_NxC[rows_of(batch, True)]
        )


def test_the_labels_of_unlabelled_rows_are_not_in_the_batch():
    for batch in batches(unlabelled=np.arange(10, 30), devices=2):
        assert not batch["is_labelled"].all()
        np.testing.assert_array_equal(batch["label"][~batch["is_labelled"]], 0)
        assert set(rows_of(batch, False)) <= set(range(10, 30))
        assert set(rows_of(batch, True)) <= set(range(10))


@settings(deadline=None, max_examples=10)
@given(
    start=st.integers(0, 40),
    seed=st.integers(0, 2**31 - 2),
    labelled=st.sampled_from([1, 2, 3, 10]),
    unlabelled=st.sampled_from([0, 3, 50]),
)
def test_a_stream_that_starts_late_gives_the_batches_that_it_would_have_given(
    start, seed, labelled, unlabelled
):
    pools = np.arange(labelled), 100 + np.arange(unlabelled)
    options = {"seed": seed, "devices": 2}
    whole = batches(*pools, 0, start + 9, **options)[start : start + 3]
    late = batches(*pools, start, start + 3, **options)
    chex.assert_trees_all_equal(whole, late)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31 - 2),
    count=st.sampled_from([1, 2, 3, 8, 10, 17]),
    batch=st.sampled_from([2, 4, 8]),
)
def test_each_epoch_holds_every_row_exactly_once(seed, count, batch):
    # Whether or not the batch divides the rows, and where it is larger than they are.
    labelled = 5 + np.arange(count)
    found = batches(labelled, stop=3 * count, batch=batch, devices=2, seed=seed)
    passes = epochs(sequence(found), count)
    np.testing.assert_array_equal(np.sort(passes, axis=1), [labelled] * len(passes))


def test_epochs_and_seeds_shuffle_differently():
    passes = [row for seed in (0, 1) for row in epochs(sequence(batches(stop=10, seed=seed)), 10)]
    assert len(passes) == 8
    assert len(np.unique(passes, axis=0)) == 8
    assert not any(np.array_equal(row, np.arange(10)) for row in passes)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [2, 4, 10])
def test_every_row_stands_first_equally_often(count, seed):
    found = batches(np.arange(count), stop=500 * count // 4, seed=seed)
    firsts = np.bincount(epochs(sequence(found), count)[:, 0], minlength=count)
    # 500 epochs: within four standard deviations of 500 / count.
    np.testing.assert_allclose(firsts, 500 / count, atol=4 * (500 / count) ** 0.5)


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_epochs_resemble_neither_the_order_of_the_rows_nor_each_other(seed):
    # A batch is a part of the set at random only then: files are often sorted by class.
    count = 50_000
    large = dataclasses.replace(
        source,
        images=ArrayImages(np.arange(count, dtype="<u4").view(np.uint8).reshape(count, 1, 1, 4)),
        label_NxC=np.zeros((count, CLASSES), np.uint8),
    )
    found = train_batches(
        large, np.arange(count), nothing, batch=count, labelled_share=1.0, devices=1, seed=seed,
        start_step=0, stop_step=4,
    )  # fmt: skip
    passes = [batch["image"].reshape(count, 4).copy().view("<u4")[:, 0] for batch in found]
    likeness = np.corrcoef([np.arange(count), *passes])
    np.fill_diagonal(likeness, 0)
    # Correlations of independent orders are about 1 / sqrt(50,000) = 0.0045.
    assert np.abs(likeness).max() < 0.02


def test_both_pools_are_passed_through_at_their_own_pace():
    found = batches(
        np.arange(6), np.arange(10, 30), stop=15, batch=8, labelled_share=0.25, devices=2
    )
    for part, rows, passes in ((True, np.arange(6), 5), (False, np.arange(10, 30), 4)):
        cut = epochs(sequence(found, part), len(rows))
        assert len(cut) == passes
        np.testing.assert_array_equal(np.sort(cut, axis=1), [rows] * passes)


def test_two_pools_of_one_size_are_shuffled_apart():
    found = batches(np.arange(20), np.arange(100, 120), stop=10)
    first = sequence(found, True), sequence(found, False) - 100
    assert not np.array_equal(*first)


@pytest.mark.parametrize(
    ("batch", "share", "devices", "wanted"),
    [
        (8, 0.5, 1, 4),
        (8, 0.5, 4, 4),
        (8, 0.25, 1, 2),
        (8, 0.25, 4, 2),  # whatever the devices: two of them have none
        (8, 0.01, 1, 1),
        (8, 0.99, 4, 8),
        (8, 1.0, 1, 8),
        (12, 0.3, 2, 4),
    ],
)
def test_share_of_labelled_rows(batch, share, devices, wanted):
    assert labelled_rows_per_batch(batch, share, has_unlabelled=True) == wanted
    options = {"batch": batch, "labelled_share": share, "devices": devices}
    for found in batches(unlabelled=np.arange(10, 30), **options):
        on_each_D = found["is_labelled"].sum(1)
        assert on_each_D.sum() == wanted
        # As even as whole numbers allow: no device trains on labels alone.
        assert on_each_D.max() - on_each_D.min() <= 1


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31 - 2),
    start=st.integers(0, 9),
    share=st.sampled_from([0.25, 0.3, 0.5, 0.75]),
    layout=st.sampled_from([(4, 1), (2, 2), (1, 2), (2, 4), (1, 8)]),
)
def test_devices_and_processes_share_out_the_batches_of_one_device(seed, start, share, layout):
    devices, processes = layout
    options = {"batch": 8, "labelled_share": share, "seed": seed, "start": start, "stop": start + 3}
    options["unlabelled"] = np.arange(10, 30)
    whole = batches(devices=1, **options)
    parts = [
        batches(devices=devices, process=p, processes=processes, **options)
        for p in range(processes)
    ]
    for step, one in enumerate(whole):
        for name, value in one.items():
            assert all(part[step][name].shape[0] == devices for part in parts)
            flat = [part[step][name].reshape(-1, *value.shape[2:]) for part in parts]
            np.testing.assert_array_equal(np.concatenate(flat), value[0])


def test_each_row_is_flipped_in_every_other_epoch():
    found = batches(stop=20, flips=True)
    flips = {row: [] for row in ten}
    for batch in found:
        for row, flip in zip(rows_of(batch), batch["is_flipped"].ravel(), strict=True):
            flips[row].append(bool(flip))
    assert all(len(turns) == 8 for turns in flips.values())
    assert all(a != b for turns in flips.values() for a, b in itertools.pairwise(turns))
    assert 0 < sum(turns[0] for turns in flips.values()) < 10


@pytest.mark.parametrize("layout", [{"devices": 2}, {"processes": 2, "process": 1}])
def test_flips_are_those_of_one_device_wherever_a_stream_starts(layout):
    pools = {"labelled": ten, "unlabelled": np.arange(10, 40), "batch": 8, "flips": True}
    whole = batches(**pools, stop=12)
    part = batches(**pools, start=5, stop=12, **layout)
    for one, other in zip(whole[5:], part, strict=True):
        flat = one["is_flipped"].ravel()
        wanted = flat[4:] if "process" in layout else flat
        np.testing.assert_array_equal(other["is_flipped"].ravel(), wanted)


def test_without_unlabelled_rows_the_whole_batch_is_labelled():
    assert labelled_rows_per_batch(8, 0.25, has_unlabelled=False) == 8
    assert all(batch["is_labelled"].all() for batch in batches(labelled_share=0.25))


def test_no_steps_no_batches():
    assert batches(start=3, stop=3) == []


# Evaluation.


@pytest.mark.parametrize("size", [1, 7, 8, 9])
@pytest.mark.parametrize("devices", [1, 2, 4])
def test_evaluation_counts_each_row_once_and_in_order(size, devices):
    rows = np.array([9, 3, 7, 0, 1, 2, 8, 5, 6, 150])[:size]
    found = list(evaluation_batches(source, rows, batch=4, devices=devices))
    assert all(batch["mask"].shape == (devices, 4 // devices) for batch in found)
    assert len(found) == -(-size // 4)
    masks = np.concatenate([batch["mask"].ravel() for batch in found])
    np.testing.assert_array_equal(masks, np.arange(len(masks)) < size)
    np.testing.assert_array_equal(sequence(found)[masks], rows)
    assert {batch["image"].dtype for batch in found} == {np.dtype(np.uint8)}


@pytest.mark.parametrize(("batch", "devices", "shape"), [(5, 2, (2, 3)), (1, 4, (4, 1))])
def test_evaluation_batches_are_made_a_multiple_of_the_devices(batch, devices, shape):
    found = list(evaluation_batches(source, np.arange(13), batch=batch, devices=devices))
    assert {b["mask"].shape for b in found} == {shape}
    assert sum(b["mask"].sum() for b in found) == 13


def test_evaluation_of_no_rows_gives_no_batch():
    assert list(evaluation_batches(source, nothing, batch=4, devices=2)) == []


# Errors.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch": 10, "devices": 4},
            "the batch of 10 does not divide by 4 devices: choose a multiple of 4, e.g. 8",
        ),
        ({"batch": 3, "devices": 4}, "choose a multiple of 4, e.g. 4"),
        (
            {"batch": 12, "devices": 4, "processes": 2},
            "the batch of 12 does not divide by 8 devices: choose a multiple of 8, e.g. 8",
        ),
        ({"batch": 0}, "the batch of 0 does not divide by 1 devices"),
        ({"labelled_share": 0}, r"labelled_share is 0; it must be in \(0, 1\]"),
        ({"labelled_share": 1.5}, "labelled_share is 1.5"),
        ({"labelled": nothing}, "no row is labelled: training needs at least one labelled row"),
    ],
)
def test_errors_say_what_to_do(options, message):
    with pytest.raises(ValueError, match=message):
        batches(**options)
