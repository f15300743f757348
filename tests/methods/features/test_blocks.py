"""Features come in the order of the rows, each once, and files of them are checked."""

import jax
import numpy as np
import pytest
import tiny

from dsh_jax.augment import pad_small, to_unit
from dsh_jax.methods import features
from dsh_jax.methods.features.gist import gist
from dsh_jax.network import DSH

SOURCE = tiny.source(side=28)
ROWS = np.array([30, 2, 3, 39, 0, 17, 18, 19, 5, 4, 21])  # 11: divides by no batch and no device


# Pixels.


def test_pixels_by_hand():
    image = np.array([0, 255, 51, 102, 153, 204, 1, 2, 3, 4, 5, 6], np.uint8).reshape(1, 2, 2, 3)
    wanted = [[0, 1, 0.2, 0.4, 0.6, 0.8, *(np.arange(1, 7) / 255)]]
    np.testing.assert_allclose(features.pixels(image), wanted, rtol=1e-6)


def test_pixels_of_28_by_28_are_784():
    assert features.pixels(SOURCE.images.take(ROWS)).shape == (11, 784)
    assert features.pixels(tiny.source(channels=3).images.take(ROWS)).shape == (11, 3072)


@pytest.mark.parametrize("image", [np.zeros((1, 2, 2, 1)), np.zeros((2, 2, 1), np.uint8)])
def test_pixels_of_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"wanted uint8 of 0 … 255, \[N, H, W, C\]"):
        features.pixels(image)


# A data set in blocks.


def blocks_of(function, rows=ROWS, batch=4, variables=None):
    return list(features.feature_blocks(function, variables, SOURCE, rows, batch=batch))


@pytest.mark.parametrize("batch", [1, 8, 256])  # on four devices
def test_blocks_hold_every_row_once_in_order(batch):
    blocks = blocks_of(lambda _, image: features.pixels(image), batch=batch)
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    assert max(map(len, blocks)) <= max(batch, 4)
    wanted = SOURCE.images.take(ROWS).reshape(11, 784) / np.float32(255)
    np.testing.assert_allclose(np.concatenate(blocks), wanted, rtol=1e-6)


def test_blocks_of_gist_are_gist():
    found = np.concatenate(blocks_of(lambda _, image: gist(image), rows=ROWS[:5]))
    wanted = gist(SOURCE.images.take(ROWS[:5]))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_variables_reach_the_function():
    weight_784x2 = np.random.default_rng(0).normal(size=(784, 2)).astype(np.float32)
    found = blocks_of(lambda weight, image: features.pixels(image) @ weight, variables=weight_784x2)
    wanted = features.pixels(SOURCE.images.take(ROWS)) @ weight_784x2
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-4, atol=1e-4)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="there are no rows"):
        blocks_of(lambda _, image: features.pixels(image), rows=ROWS[:0])


# A network's own features.


def test_encoder_features_are_fc7_and_the_code_follows_from_them():
    model = DSH(bits=12, classes=10, shape=(32, 32, 1), width=1 / 32, fc_dim=8, axis_name="batch")
    image = pad_small(to_unit(SOURCE.images.take(ROWS)))
    variables = jax.jit(model.init)(jax.random.PRNGKey(0), image)
    wanted = jax.jit(lambda image: model.apply(variables, image, decode=False))(image)
    blocks = list(features.encoder_features(model, variables, SOURCE, ROWS, batch=8))
    found_NxF = np.concatenate(blocks)
    np.testing.assert_allclose(found_NxF, wanted.feature, rtol=1e-4, atol=1e-6)
    layer = variables["params"]["bcoding"]["logit"]
    logit_NxK = found_NxF @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    np.testing.assert_allclose(logit_NxK, wanted.logit, rtol=1e-4, atol=1e-5)


# Files.


def test_saved_blocks_are_loaded_as_one_array(tmp_path):
    blocks = [np.full((rows, 3), rows, np.float32) for rows in (4, 4, 2)]
    path = features.save_features(tmp_path / "new" / "features.npy", iter(blocks), 10)
    assert path == tmp_path / "new" / "features.npy"
    assert [file.name for file in path.parent.iterdir()] == ["features.npy"]
    loaded = features.load_features(path, 10)
    assert isinstance(loaded, np.memmap)
    assert not loaded.flags.writeable
    np.testing.assert_array_equal(loaded, np.concatenate(blocks))


@pytest.mark.parametrize(("rows", "message"), [(7, "8 rows or more; wanted 7"), (9, "8 rows;")])
def test_a_file_of_another_number_of_rows_is_not_written(rows, message, tmp_path):
    blocks = [np.zeros((4, 3), np.float32)] * 2
    with pytest.raises(ValueError, match=f"the blocks hold {message}"):
        features.save_features(tmp_path / "features.npy", blocks, rows)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_file_is_not_there(tmp_path):
    def blocks():
        yield np.zeros((4, 3), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.save_features(tmp_path / "features.npy", blocks(), 8)
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"features.npz does not end in \.npy"):
        features.save_features(tmp_path / "features.npz", [], 8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_users_features_keep_their_type(dtype, tmp_path):
    wanted = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    for array in (wanted, np.asfortranarray(wanted)):
        np.save(tmp_path / "features.npy", array)
        loaded = features.load_features(tmp_path / "features.npy", 5)
        assert loaded.dtype == dtype
        np.testing.assert_array_equal(loaded, wanted)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3)), "holds 5 rows, the data set 6; write a row for each image"),
        (np.zeros(6), r"holds float64 of shape \(6,\); wanted floats of shape \(rows, columns\)"),
        (np.zeros((6, 2, 2)), r"holds float64 of shape \(6, 2, 2\)"),
        (np.zeros((6, 0)), r"holds float64 of shape \(6, 0\)"),
        (np.zeros((6, 3), int), "holds int64 of shape"),
        (np.array([["a"]] * 6, object), "cannot be read"),
    ],
)
def test_other_arrays_are_refused(array, message, tmp_path):
    np.save(tmp_path / "features.npy", array)
    with pytest.raises(ValueError, match=message) as error:
        features.load_features(tmp_path / "features.npy", 6)
    assert "features.npy" in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad, monkeypatch, tmp_path):
    monkeypatch.setattr(features.files, "CHECKED", 6)  # two rows at a time
    array = np.zeros((9, 3), np.float32)
    array[[5, 8], 1] = bad
    np.save(tmp_path / "features.npy", array)
    with pytest.raises(ValueError, match="has NaN or infinity in row 5"):
        features.load_features(tmp_path / "features.npy", 9)


def test_what_is_no_npy_is_refused(tmp_path):
    path = tmp_path / "features.npy"
    with pytest.raises(ValueError, match=r"cannot be read .*; write it with numpy\.save"):
        features.load_features(path, 6)
    for content in (b"", b"1.0,2.0\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read .*; write it with numpy\.save"):
            features.load_features(path, 6)
    np.savez(tmp_path / "features.npz", train=np.zeros((6, 2)), query=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"holds train, query; wanted one array"):
        features.load_features(tmp_path / "features.npz", 6)
