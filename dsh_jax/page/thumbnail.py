"""Small pictures as elements of an HTML page, their bytes within it."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from dsh_jax import pictures
from dsh_jax.collection.file_names import printable

SIDE = 120  # pixels of the longer side


def of_file(path: str, name: str) -> str:
    """Return the element of a small picture of a file, or of the reason that there is none.

    Args:
      path: of the file.
      name: what the picture is called where it is not seen.

    Returns:
      HTML, an `img` of class `thumb`, or a `div` of class `absent`.
    """
    try:
        with pictures.open_picture(path) as picture:
            picture.draft(None, (2 * SIDE, 2 * SIDE))  # a large JPEG is decoded small
            small = Image.fromarray(pictures.rgb(picture))
        small.thumbnail((SIDE, SIDE))
        return _element(small, "JPEG", name)
    except pictures.UnreadableError as error:
        return f'<div class="absent">no picture: {html.escape(printable(str(error)))}</div>'


def of_pixels(image_HxWxC: np.ndarray, name: str) -> str:
    """Return the element of an image, exactly.

    Args:
      image_HxWxC: uint8, C = 1 or 3.
      name: what the picture is called where it is not seen.

    Returns:
      HTML, an `img` of class `thumb`.
    """
    exact = image_HxWxC[..., 0] if image_HxWxC.shape[-1] == 1 else image_HxWxC
    return _element(Image.fromarray(exact), "PNG", name)


def _element(picture: Image.Image, form: str, name: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=95, subsampling=0)
    uri = f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<img class="thumb" src="{uri}" alt="{html.escape(printable(name))}">'
