"""An encoder small enough for a test, and images for it."""

import jax.numpy as jnp
import numpy as np

from dsh_jax.codes import pack_bits
from dsh_jax.collection.encoder import ImageEncoder


def bright(threshold, image_BxHxWxC):
    """Twelve bits: whether each of twelve pixels is bright."""
    return pack_bits(image_BxHxWxC.reshape(len(image_BxHxWxC), -1)[:, :12] > threshold)


def encoder(channels=1, **changed):
    """An encoder whose codes can be told by looking."""
    settings = {
        "function": bright,
        "variables": jnp.uint8(127),
        "shape": (8, 8, channels),
        "bits": 12,
        "fit": "squash",
        "fingerprint": "0123456789abcdef",
        "label_names": ("dark", "bright"),
    }
    return ImageEncoder(**settings | changed)


def images(rows, seed=0, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (rows, 8, 8, channels), np.uint8)


def code(image_NxHxWxC):
    bit_NxK = image_NxHxWxC.reshape(-1, np.prod(image_NxHxWxC.shape[1:]))[:, :12] > 127
    return np.packbits(bit_NxK, axis=1, bitorder="little")
