"""From a file to pixels: the one reader of training, encoding, and all that is drawn.

    kinds    the one list of endings; what a file is by its content
    decode   a file, or a picture of Pillow, as it is seen: upright, on white, RGB of 8 bits
    depth    grey of more than 8 bits, by the range that its file names
    tiff     the grey TIFFs that Pillow needs help with
    fit      crop, resize, channels
    reader   all of it: one file, or many
    fast     the same by tf.data, for training and for many files
    errors   why a file gives no picture

Nothing needs TensorFlow but `fast`. Where it is installed, it decodes baseline JPEGs and plain PNGs
of 8 bits, and resizes, when there are many; Pillow and numpy do all the rest, and everything where
it is not. Both give the same pixels, bit for bit: both decode JPEGs by libjpeg-turbo, at the same
part of their size, and `fit` adds up as TensorFlow does.
"""

from dsh_jax.pictures.decode import open_picture, rgb, upright_size
from dsh_jax.pictures.errors import UnreadableError
from dsh_jax.pictures.fit import fitted, resize, to_channels
from dsh_jax.pictures.kinds import by_ending, endings, is_named_as_picture
from dsh_jax.pictures.reader import CORES, VERSION, read, read_all

__all__ = [
    "CORES",
    "VERSION",
    "UnreadableError",
    "by_ending",
    "endings",
    "fitted",
    "is_named_as_picture",
    "open_picture",
    "read",
    "read_all",
    "resize",
    "rgb",
    "to_channels",
    "upright_size",
]
