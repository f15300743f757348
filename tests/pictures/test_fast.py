"""Many files at once: the same pixels as one at a time, in order, whatever is among them."""

import numpy as np
import pytest
import tensorflow as tf
import zoo
from PIL import Image

from dsh_jax.data import files
from dsh_jax.data.images import FileImages
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.source import Source
from dsh_jax.pictures import fast, read, reader

SIDE = 16


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def source(folder, names):
    label = np.ones((len(names), 1), np.uint8)
    return Source("pets", FileImages(str(folder), np.array(names), SIDE), label, ("cat",))


def read_all(folder, names):
    """All pictures, as training reads them."""
    return source(folder, names).images.take(np.arange(len(names)))


def alone(folder, names):
    return np.stack([read(folder / name, (SIDE, SIDE, 3), "squash")[0] for name in names])


@pytest.mark.parametrize("quality", [20, 75, 98])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs_are_those_of_pillow_bit_for_bit(quality, subsampling, tmp_path):
    names = []
    for row, size in enumerate([(64, 64), (375, 500), (17, 23), (129, 255), (16, 300)]):
        for mode in ("RGB", "L"):
            names.append(f"{row}{mode}.jpg")
            image = Image.fromarray(noise(*size, seed=row)).convert(mode)
            image.save(tmp_path / names[-1], quality=quality, subsampling=subsampling)
    np.testing.assert_array_equal(read_all(tmp_path, names), alone(tmp_path, names))


def test_plain_files_need_no_pillow_and_others_no_second_look(tmp_path, monkeypatch):
    image = Image.fromarray(noise(40, 30))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "b.png")
    image.convert("L").save(tmp_path / "c.png")
    names, wanted = ["a.jpg", "b.png", "c.png"], alone(tmp_path, ["a.jpg", "b.png", "c.png"])
    monkeypatch.setattr(reader, "pixels", None)  # calling it would fail
    np.testing.assert_array_equal(read_all(tmp_path, names), wanted)


def test_order_is_kept_whatever_takes_long(tmp_path):
    names = []
    for row in range(40):
        kind = ("jpg", "png", "gif", "webp", "ppm")[row % 5]
        names.append(f"{row}.{kind}")
        large = 400 if row % 7 == 0 else 20
        Image.fromarray(noise(large, large, seed=row)).save(tmp_path / names[-1])
    wanted = alone(tmp_path, names)
    for _ in range(3):
        np.testing.assert_array_equal(read_all(tmp_path, names), wanted)


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_the_number_of_cores_is_nothing_to_the_pixels(cores, tmp_path, monkeypatch):
    names = [f"{row}.{('jpg', 'png', 'tiff')[row % 3]}" for row in range(20)]
    for row, name in enumerate(names):
        Image.fromarray(noise(90, 70, seed=row)).save(tmp_path / name)
    wanted = alone(tmp_path, names)
    monkeypatch.setattr(reader, "CORES", cores)
    np.testing.assert_array_equal(read_all(tmp_path, names), wanted)


def test_a_bad_file_is_an_error_at_its_own_place_alone(tmp_path):
    names = [f"{row}.png" for row in range(20)]
    for row, name in enumerate(names):
        Image.fromarray(noise(9, 9, seed=row)).save(tmp_path / name)
    (tmp_path / names[11]).write_bytes(b"no picture")
    (tmp_path / names[14]).unlink()
    paths = tf.data.Dataset.from_tensor_slices([str(tmp_path / name) for name in names])
    found = iter(fast.images(paths.batch(8), SIDE, SIDE, "squash"))
    for row in range(20):
        if row in (11, 14):
            with pytest.raises(tf.errors.OpError, match=f"cannot be read.*{row}.png"):
                next(found)
        else:
            next(found)
    bad = files.broken(source(tmp_path, names))
    np.testing.assert_array_equal(bad, [11, 14])


def odd_jpeg():
    """A JPEG, damaged a little, that TensorFlow refuses and Pillow reads."""
    data = zoo.saved(Image.fromarray(noise(64, 64)), "JPEG", quality=90, restart_marker_rows=1)
    at = data.rindex(b"\xff\xd2")
    data = data[:at] + b"\xff\xe4\xff\xff" + data[at + 4 :]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_jpeg(data)
    return data


@pytest.mark.parametrize("batch", [1, 3])
def test_what_tensorflow_refuses_and_pillow_reads_is_trained_all_the_same(tmp_path, batch):
    names = [f"{row}.jpg" for row in range(9)]
    for row, name in enumerate(names):
        Image.fromarray(noise(40, 40, seed=row)).save(tmp_path / name)
    (tmp_path / names[4]).write_bytes(odd_jpeg())
    wanted = alone(tmp_path, names)
    rows = np.array([3, 4, 0, 8, 4, 1, 2, 5, 7])
    batches = list(evaluation_batches(source(tmp_path, names), rows, batch=batch, devices=1))
    found = np.concatenate([one["image"] for one in batches], axis=1)[0]
    np.testing.assert_array_equal(found, wanted[rows])
    array = np.zeros((9, SIDE, SIDE, 3), np.uint8)
    assert not len(files.decode_all(source(tmp_path, names).images, array))
    np.testing.assert_array_equal(array, wanted)


def test_a_png_with_a_wrong_sum_is_read_all_the_same(tmp_path):
    data = bytearray(zoo.saved(Image.fromarray(noise(40, 40)), "PNG"))
    data[-13] ^= 1
    (tmp_path / "x.png").write_bytes(data)
    np.testing.assert_array_equal(read_all(tmp_path, ["x.png"]), alone(tmp_path, ["x.png"]))


def test_errors_of_training_say_why(tmp_path):
    names = [f"{row}.jpg" for row in range(4)]
    for row, name in enumerate(names):
        Image.fromarray(noise(40, 40, seed=row)).save(tmp_path / name)
    (tmp_path / names[1]).write_bytes(b"")
    (tmp_path / names[2]).write_bytes((tmp_path / names[2]).read_bytes()[:-400])
    message = (
        r"2 of 4 files cannot be read or decoded: 1.jpg, 2.jpg \(under .*\)\. 1.jpg: it is empty; "
        r"2.jpg: it cannot be decoded: .*truncated.*\. Mend the data, or set data.skip=corrupt"
    )
    with pytest.raises(ValueError, match=message):
        list(evaluation_batches(source(tmp_path, names), np.arange(4), batch=2, devices=1))


def test_bombs_are_refused_in_training_too(tmp_path, monkeypatch):
    for name in ("x.jpg", "x.png", "x.gif"):
        Image.new("L", (40, 30)).save(tmp_path / name)
    names = ["x.jpg", "x.png", "x.gif"]
    assert not len(files.broken(source(tmp_path, names)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 30 - 1)
    np.testing.assert_array_equal(files.broken(source(tmp_path, names)), [0, 1, 2])
