"""A trained network as a user has it: images in, codes out, neighbours found."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from etils import epath
from PIL import Image

from dsh_jax import parallel, pictures, retrieval
from dsh_jax.collection import image_codes
from dsh_jax.collection.image_codes import ImageCodes

BATCH = 256


@dataclasses.dataclass(frozen=True)
class ImageEncoder:
    """A model with all that its codes follow from.

    Attributes:
      function: `(variables, image uint8 [B, H, W, C]) -> packed uint8 [B, W]`.
      variables: of the network, a tree of arrays.
      shape: (H, W, C) of the images.
      bits: K.
      fit: how other shapes become this one, see `pictures.fit.box`.
      fingerprint: see `fingerprint.fingerprint`.
      label_names: of the classes.
    """

    function: Callable[[Any, jax.Array], jax.Array]
    variables: Any
    shape: tuple[int, int, int]
    bits: int
    fit: str
    fingerprint: str
    label_names: tuple[str, ...]

    @functools.cached_property
    def _on_devices(self) -> Callable[[np.ndarray], jax.Array]:
        """The function over the devices, the weights moved to them once."""
        mapped = parallel.parallel_apply(self.function)
        return functools.partial(mapped, parallel.replicate(self.variables))

    def encode_pixels(self, image_NxHxWxC: np.ndarray, *, batch: int = BATCH) -> np.ndarray:
        """Return the codes of images of the network's own shape.

        Batches are filled up to a power of two or the whole, so that few sizes are compiled.

        Args:
          image_NxHxWxC: uint8.
          batch: images at a time, over all devices.

        Returns:
          packed_NxW, uint8.
        """
        devices, packed = parallel.device_count(), []
        for start in range(0, len(image_NxHxWxC), batch):
            block = image_NxHxWxC[start : start + batch]
            rows = min(batch, 1 << (len(block) - 1).bit_length())
            rows = -(-rows // devices) * devices
            filled = np.pad(block, ((0, rows - len(block)), *[(0, 0)] * 3))
            found = self._on_devices(filled.reshape(devices, -1, *self.shape))
            packed.append((found, len(block)))
        width = -(-self.bits // 8)
        found = [np.asarray(x).reshape(-1, width)[:rows] for x, rows in packed]
        return np.concatenate([np.zeros((0, width), np.uint8), *found])

    def read(self, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Return a file's image as the network takes it, see `pictures.read`."""
        return pictures.read(path, self.shape, self.fit)

    def read_all(
        self, paths: Sequence[str]
    ) -> list[tuple[np.ndarray, tuple[int, int]] | pictures.UnreadableError]:
        """Return files' images as the network takes them, see `pictures.read_all`."""
        return pictures.read_all(paths, self.shape, self.fit)

    def prepare(self, image: Any) -> np.ndarray:
        """Return one image as the network takes it.

        Args:
          image: path of a file; a picture of Pillow; or uint8 [h, w, 1 or 3].

        Returns:
          uint8 [H, W, C].

        Raises:
          ValueError: naming a file that cannot be read; for other arrays.
        """
        height, width, channels = self.shape
        if isinstance(image, str | os.PathLike):
            try:
                return self.read(os.fspath(image))[0]
            except pictures.UnreadableError as error:
                raise ValueError(f"{os.fspath(image)}: {error}.") from error
        if isinstance(image, Image.Image):
            image = pictures.rgb(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise ValueError(
                f"an image is {image.dtype} of shape {image.shape}; pass uint8 of shape [N, H, W, "
                "1 or 3], a list of paths, or pictures of Pillow."
            )
        if image.shape[:2] != (height, width):
            three = pictures.to_channels(image, 3)
            image = pictures.fitted(three, height, width, self.fit)
        return pictures.to_channels(image, channels)

    def encode(self, images: Any, *, batch: int = BATCH) -> np.ndarray:
        """Return the codes of images, which are resized as in training.

        Files are decoded as in training too; pictures as they are seen, see `pictures`, at their
        whole size; arrays are taken as they are.

        Args:
          images: uint8 [N, H, W, C] of any size with C = 1 or 3; or a list of paths, of pictures of
            Pillow or of uint8 [H, W, C]; or one path or picture.
          batch: images at a time.

        Returns:
          packed_NxW, uint8, see `codes.pack_bits`.

        Raises:
          ValueError: see `prepare`.
        """
        if isinstance(images, str | os.PathLike | Image.Image):
            images = [images]
        packed = [self.encode_pixels(np.zeros((0, *self.shape), np.uint8))]
        with ThreadPoolExecutor(2 * pictures.CORES) as pool:
            for start in range(0, len(images), batch):
                block = list(pool.map(self.prepare, images[start : start + batch]))
                packed.append(self.encode_pixels(np.stack(block), batch=batch))
        return np.concatenate(packed)

    def search(
        self, query: Any, index: ImageCodes | epath.PathLike, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest images of an index, exactly.

        Args:
          query: codes, uint8 [Q, W], or images as `encode` takes them.
          index: codes of images, or the path of their file.
          k: how many, at most as many as the index has.

        Returns:
          (distance_Qxk, row_Qxk), int32, see `retrieval.search`; `index.names[row]` names an image.

        Raises:
          ValueError: for an index of another model, bad images or a bad k.
        """
        if not isinstance(index, ImageCodes):
            index = image_codes.load(index)
        image_codes.check_same_model(
            index, "the index", bits=self.bits, fingerprint=self.fingerprint
        )
        is_code = isinstance(query, np.ndarray) and query.ndim == 2
        packed_QxW = query if is_code else self.encode(query)
        kept = self._last_index.get("codes")
        if kept is None or kept.packed_RxW is not index.packed_NxW:
            kept = retrieval.Index(index.packed_NxW, 8 * index.packed_NxW.shape[1])
            self._last_index["codes"] = kept
        return kept.search(packed_QxW, k)

    @functools.cached_property
    def _last_index(self) -> dict[str, retrieval.Index]:
        """What was searched last, so that the next search need not arrange it again."""
        return {}

    def codes_of(
        self,
        names: Sequence[str],
        found: Sequence[tuple[np.ndarray, tuple[int, int]] | pictures.UnreadableError],
        *,
        batch: int,
        root: str,
    ) -> ImageCodes:
        """Return the codes of files that were read.

        Args:
          names: of the files.
          found: what `read` returned for each, or raised.
          batch: images at a time.
          root: folder of the names.

        Returns:
          ImageCodes, with the reasons of those that could not be read.
        """
        failures, rows = {}, []
        for row, (name, one) in enumerate(zip(names, found, strict=True)):
            if isinstance(one, pictures.UnreadableError):
                failures[name] = str(one)
            else:
                rows.append(row)
        image_NxHxWxC = np.stack(
            [found[row][0] for row in rows] or [np.zeros(self.shape, np.uint8)]
        )
        return ImageCodes(
            packed_NxW=self.encode_pixels(image_NxHxWxC[: len(rows)], batch=batch),
            names=tuple(names[row] for row in rows),
            size_Nx2=np.array([found[row][1] for row in rows], np.int32).reshape(-1, 2),
            bits=self.bits,
            fingerprint=self.fingerprint,
            root=root,
            failures=failures,
        )
