"""One image looked up: what a page of a model, and of an index if there is one, shows of it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from dsh_jax import pictures
from dsh_jax.augment import pad_small
from dsh_jax.collection import image_codes
from dsh_jax.collection.encoder import ImageEncoder
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.page import code_length, elements, thumbnail


@dataclasses.dataclass(frozen=True)
class Lookup:
    """A model, and what it can be asked.

    Attributes:
      name: of the model, for the reader.
      encoder: of the model.
      decode: `image uint8 [B, H, W, C] -> uint8 [B, H', W', C]`, or None.
      no_decoder: why there is none.
      index: codes of images by the same model, or None.
      no_index: why there is none.
      root: folder of the index's images.
      k: neighbours to show, at most.

    Raises:
      ValueError: for an index of another model.
    """

    name: str
    encoder: ImageEncoder
    decode: Callable[[np.ndarray], np.ndarray] | None
    no_decoder: str
    index: ImageCodes | None
    no_index: str
    root: str
    k: int

    def __post_init__(self):
        if self.index is not None:
            bits, fingerprint = self.encoder.bits, self.encoder.fingerprint
            image_codes.check_same_model(
                self.index, "the index", bits=bits, fingerprint=fingerprint
            )

    @functools.cached_property
    def _cuts(self) -> code_length.Cuts:
        return code_length.Cuts(self.index.packed_NxW)

    @property
    def is_searchable(self) -> bool:
        """Whether there are codes to search."""
        return self.index is not None and bool(self.index.names)

    def heading(self) -> str:
        """Return the head of the page, HTML."""
        words = self.no_index
        if self.index is not None:
            words = f"{len(self.index.names):,} images in the index."
        return elements.heading(self.name, self.encoder.bits, self.encoder.fingerprint, words)

    def look(self, path: str, name: str) -> tuple[np.ndarray | None, str]:
        """Encode a file.

        Args:
          path: of the file.
          name: of it, for the reader.

        Returns:
          (packed_1xW uint8, HTML of its pictures); or (None, HTML of the reason) for a file that
          gives no image.
        """
        try:
            image_HxWxC, size = self.encoder.read(path)
        except pictures.UnreadableError as error:
            return None, elements.refusal(name, str(error))
        packed_1xW = self.encoder.encode_pixels(image_HxWxC[None])
        return packed_1xW, self._pictures(path, name, image_HxWxC, size)

    def look_at_row(self, row: int) -> tuple[np.ndarray, str]:
        """Return an image of the index, by the code that it has there.

        Args:
          row: of the index.

        Returns:
          (packed_1xW uint8, HTML of its pictures, or of the reason that there are none).
        """
        name = self.index.names[row]
        path = os.path.join(self.root, name)
        try:
            shown = self._pictures(path, name, *self.encoder.read(path))
        except pictures.UnreadableError as error:
            shown = elements.only_code(name, str(error))
        return self.index.packed_NxW[row : row + 1], shown

    def _pictures(
        self, path: str, name: str, image_HxWxC: np.ndarray, size: tuple[int, int]
    ) -> str:
        decoded = None if self.decode is None else np.asarray(self.decode(image_HxWxC[None]))[0]
        return elements.pictures(
            name,
            size,
            thumbnail.of_file(path, name),
            np.asarray(pad_small(image_HxWxC[None]))[0],
            decoded,
            self.no_decoder,
        )

    def found(self, packed_1xW: np.ndarray, bits: int) -> str:
        """Return a code and its neighbours by its first bits, HTML.

        Args:
          packed_1xW: uint8.
          bits: how many, from 1 to K.
        """
        whole, packed_W = self.encoder.bits, packed_1xW[0]
        bits = min(max(1, int(bits)), whole)
        parts = [elements.code(packed_W, whole, bits)]
        if not self.is_searchable:
            reason = self.no_index or "The index holds no images: encode some into it first."
            return parts[0] + elements.no_neighbours(reason)
        k = min(self.k, len(self.index.names))
        wanted = sorted({*code_length.lengths(whole), bits})
        cuts = [code_length.cut(packed_1xW, self._cuts, n, k) for n in wanted]
        chosen = cuts[wanted.index(bits)]
        parts.append(elements.neighbours(packed_W, self.index, chosen, self.root))
        parts.append(elements.lengths(cuts, whole, bits))
        return "".join(parts)
