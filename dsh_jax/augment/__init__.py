"""Preparation and augmentation of images, on the device.

prepare   what every image goes through, in training and evaluation
geometry  where pixels go
colours   what colour they have
strong    operations drawn from a table
compose   all of them, drawn for each image of a batch
"""

from dsh_jax.augment.compose import augment
from dsh_jax.augment.geometry import affine, cutout, flip, random_crop, shift
from dsh_jax.augment.prepare import network_input, pad_small, to_unit

__all__ = [
    "affine",
    "augment",
    "cutout",
    "flip",
    "network_input",
    "pad_small",
    "random_crop",
    "shift",
    "to_unit",
]
