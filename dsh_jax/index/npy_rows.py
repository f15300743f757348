"""Codes as an .npy file that every program with numpy reads, their images' names beside it."""

from __future__ import annotations

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.collection.file_names import printable
from dsh_jax.collection.image_codes import ImageCodes


def write(path: epath.PathLike, codes: ImageCodes) -> None:
    """Write codes as `codes.npy`, uint8 [N, W], and their names as `codes.txt`, one a line.

    Each file is there whole or not at all, the names first.

    Args:
      path: of the codes; both files are replaced.
      codes: of any number of images.

    Raises:
      ValueError: for a path that does not end in .npy.
    """
    path = epath.Path(path).expanduser()
    if path.suffix != ".npy":
        raise ValueError(f"{path} does not end in .npy, and its names go into a .txt: rename it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_text(
        path.with_suffix(".txt"), "".join(f"{printable(name)}\n" for name in codes.names)
    )
    with whole.opened(path) as file:
        np.save(file, codes.packed_NxW)
