"""Small image files made for a test."""

import numpy as np
from etils import epath
from PIL import Image


def colour(row):
    """Return the colour of the row's picture: any two are easily told apart."""
    return np.array([(37 * row) % 256, (91 * row + 60) % 256, (149 * row + 120) % 256], np.uint8)


def write(path, row=0, size=(48, 40), mode="RGB"):
    """Write a picture of one colour as JPEG, PNG, GIF or BMP; `size` is width and height."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.broadcast_to(colour(row), (size[1], size[0], 3))
    options = {"quality": 95} if path.suffix in (".jpg", ".jpeg") else {}
    Image.fromarray(np.ascontiguousarray(pixels)).convert(mode).save(path, **options)


def write_many(folder, names, **options):
    """Write a picture for each name, each of its own colour."""
    for row, name in enumerate(names):
        write(epath.Path(folder) / name, row, **options)
