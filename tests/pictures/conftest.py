"""TensorFlow is there from the start, so that also few files are read through it."""

import tensorflow  # noqa: F401
