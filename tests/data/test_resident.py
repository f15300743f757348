"""Batches on the devices are those of the pipeline, row by row; the shuffle is TensorFlow's."""

import dataclasses

import jax
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.data import pipeline, resident, shuffle
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.one_of(
        st.integers(1, 300), st.sampled_from([4000, 65_535, 65_536, 131_073, 262_144, 5_000_001])
    ),
)
def test_the_shuffle_is_that_of_tensorflow(seed, rows):
    rng = np.random.default_rng(seed)
    place = rng.integers(0, rows, 500)
    key = rng.integers(-(2**31), 2**31, (500, 3)).astype(np.int32)
    wanted = tf.raw_ops.RandomIndexShuffle(
        index=place, seed=key, max_index=np.full(500, rows - 1, np.int64), rounds=shuffle.ROUNDS
    )
    found = shuffle.shuffled(place.astype(np.int32), key, rows)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("rows", [1, 2, 7, 256, 1000, 2**16 + 1])
def test_an_epoch_is_a_permutation(rows):
    key = np.tile(shuffle.epoch_keys(1, 0, 0), (rows, 1))
    found = shuffle.shuffled(np.arange(rows, dtype=np.int32), key, rows)
    np.testing.assert_array_equal(np.sort(found), np.arange(rows))


@pytest.mark.parametrize("rows", [0, 2**30 + 1])
def test_too_many_rows_are_refused(rows):
    with pytest.raises(ValueError, match="rows cannot be shuffled; wanted 1 to 1,073,741,824"):
        shuffle.shuffled(np.zeros(1, np.int32), np.zeros((1, 3), np.int32), rows)


def source_of(rows):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (rows, 3, 2, 1), dtype=np.uint8)
    label = np.eye(4, dtype=np.float32)[rng.integers(0, 4, rows)]
    return Source("drawn", ArrayImages(image), label, tuple("abcd"))


@pytest.mark.parametrize(
    ("unlabelled", "batch", "share", "devices"),
    [(30, 8, 0.25, 4), (30, 8, 0.4, 2), (0, 6, 0.5, 1), (3, 16, 0.5, 4)],
)
@pytest.mark.parametrize("flips", [False, True])
def test_batches_are_those_of_the_pipeline(unlabelled, batch, share, devices, flips):
    source = source_of(60)
    rows = np.random.default_rng(1).permutation(60)
    labelled, unlabelled = rows[:11], rows[11 : 11 + unlabelled]
    columns = {"target": np.random.default_rng(2).random((60, 3)).astype(np.float32)}
    drawn = {"batch": batch, "labelled_share": share, "seed": 5, "stop_step": 12}
    arrays = resident.rows_of(source, seed=5, columns=columns, flips=flips)
    arrays |= resident.pools_of(labelled, unlabelled, **drawn)
    sample = jax.jit(
        lambda arrays, step, device: resident.batch_at(
            arrays, step, device, batch=batch, labelled_share=share, devices=devices
        )
    )
    wanted = pipeline.train_batches(
        source,
        labelled,
        unlabelled,
        devices=devices,
        start_step=3,
        columns=columns,
        flips=flips,
        **drawn,
    )
    arrays = jax.device_put(arrays)
    for step, batch_DxB in enumerate(wanted, start=3):
        for device in range(devices):
            found = sample(arrays, step, device)
            assert set(found) == set(batch_DxB)
            for name, value in found.items():
                np.testing.assert_array_equal(value, batch_DxB[name][device], err_msg=name)


def test_images_that_were_left_out_stay_so():
    whole, kept = source_of(60), np.arange(59, -1, -3)
    source = Source("drawn", whole.images.select(kept), whole.label_NxC[kept], whole.label_names)
    arrays = resident.rows_of(source, seed=0)
    np.testing.assert_array_equal(arrays["image"], whole.images.take(kept))


@pytest.mark.parametrize(
    ("labelled", "stop", "message"),
    [
        ([], 5, "no row is labelled"),
        ([1], 2**30, r"steps of 4 rows are more than 4,294,967,296: set data.resident='off'"),
    ],
)
def test_what_cannot_be_is_refused(labelled, stop, message):
    with pytest.raises(ValueError, match=message):
        resident.pools_of(
            np.array(labelled, int),
            np.zeros(0, int),
            batch=4,
            labelled_share=1.0,
            seed=0,
            stop_step=stop,
        )


class _Files:
    shape, name_N = (2, 2, 1), None

    def __len__(self):
        return 9


FILES = dataclasses.replace(source_of(9), images=_Files())


@pytest.mark.parametrize(
    ("source", "resident_is", "memory", "wanted"),
    [
        (source_of(9), "auto", 0, True),
        (source_of(9), "auto", 4 * 9 * 6, True),  # 9 images of 6 bytes
        (source_of(9), "auto", 4 * 9 * 6 - 1, False),
        (source_of(9), "on", 1, True),
        (source_of(9), "off", 0, False),
        (FILES, "auto", 0, False),
        (FILES, "off", 0, False),
    ],
)
def test_arrays_that_leave_room_lie_on_the_devices(source, resident_is, memory, wanted):
    assert resident.fits(source, resident_is, memory) == wanted


@pytest.mark.parametrize(
    ("source", "resident_is", "message"),
    [
        (FILES, "on", "the images of drawn lie in files: set it to 'auto', or decode them once"),
        (source_of(9), "yes", "data.resident is 'yes'; it must be 'auto', 'on' or 'off'"),
    ],
)
def test_files_cannot_lie_on_devices(source, resident_is, message):
    with pytest.raises(ValueError, match=message):
        resident.fits(source, resident_is, 0)
