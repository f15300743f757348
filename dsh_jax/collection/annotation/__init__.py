"""Codes in images, as XMP.

picture       one image: its code written into a copy, and read; pixels are never touched
annotated     copies of many
stored_codes  what the images of a folder hold, without any model
xmp           our properties in a packet
xmp_packets   the packets in what an image carries as one
jpeg, png, webp  where a packet stands in a file
"""

from dsh_jax.collection.annotation.picture import (
    Annotation,
    ChangedError,
    annotate,
    is_image,
    of_bytes,
    read,
)

__all__ = ["Annotation", "ChangedError", "annotate", "is_image", "of_bytes", "read"]
