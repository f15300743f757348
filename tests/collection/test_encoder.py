"""Images of every kind become the codes of their pixels, and find their like."""

import numpy as np
import pytest
from encoders import code, encoder, images
from PIL import Image

from dsh_jax import pictures
from dsh_jax.collection import image_codes
from dsh_jax.collection.image_codes import ImageCodes


@pytest.mark.parametrize("rows", [0, 1, 5, 11, 16])
@pytest.mark.parametrize("batch", [3, 5, 64])  # the devices are four
def test_each_image_has_its_code_in_its_place(rows, batch):
    image = images(rows)
    found = encoder().encode(image, batch=batch)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, code(image))


def test_files_pictures_and_arrays_have_the_same_codes(tmp_path):
    image = images(3)
    pictures = [Image.fromarray(x[..., 0]) for x in image]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    for form in (pictures, paths, [str(path) for path in paths], list(image)):
        np.testing.assert_array_equal(encoder().encode(form), code(image))
    for one in (pictures[1], paths[1], str(paths[1])):
        np.testing.assert_array_equal(encoder().encode(one), code(image)[1:2])


@pytest.mark.parametrize("channels", [1, 3])
def test_other_sizes_and_channels_are_brought_to_the_models(channels):
    image = np.random.default_rng(1).integers(0, 256, (2, 24, 19, 4 - channels), np.uint8)
    three = pictures.to_channels(image, 3)
    small = np.stack([pictures.fitted(x, 8, 8, "squash") for x in three])
    wanted = code(pictures.to_channels(small, channels))
    np.testing.assert_array_equal(encoder(channels).encode(image), wanted)


def test_the_nearest_are_found(tmp_path):
    image = images(50)
    index = ImageCodes(
        code(image),
        tuple(f"{i}.png" for i in range(50)),
        np.full((50, 2), 8, np.int32),
        12,
        "0123456789abcdef",
    )
    distance = np.bitwise_count(code(image)[:, None] ^ code(image)[None, :]).sum(axis=2)
    order = np.argsort(distance[:3], axis=1, kind="stable")[:, :5]
    image_codes.save(tmp_path / "codes.npz", index)
    for query in (image[:3], code(image)[:3]):
        for where in (index, tmp_path / "codes.npz"):
            found = encoder().search(query, where, 5)
            np.testing.assert_array_equal(found[1], order)
            np.testing.assert_array_equal(found[0], np.take_along_axis(distance[:3], order, 1))
    for changed in ({"fingerprint": "f" * 16}, {"bits": 11}):
        with pytest.raises(ValueError, match="distances between their codes mean nothing"):
            encoder(**changed).search(image, index, 5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), r"an image is float32 of shape \(8, 8, 1\)"),
        (np.zeros((8, 8, 1), np.uint8), r"an image is uint8 of shape \(8, 1\); pass .* \[N, H, W"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"of shape \(8, 8, 4\)"),
        (["absent.png"], r"absent\.png: there is no such file"),
    ],
)
def test_what_is_no_image_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        encoder().encode(wrong)
