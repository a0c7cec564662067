"""Images as arrays: every kind of file a folder may hold, read and written with all that can be kept."""

from translatekit.images.picture import (
    MAX_PIXELS,
    Picture,
    UnreadableImageError,
    resize,
    to_gray,
    to_uint8,
)
from translatekit.images.reading import IMAGE_SUFFIXES, count_pages, read_picture, read_size
from translatekit.images.tiff import write_pages
from translatekit.images.writing import WRITABLE_SUFFIXES, encode_picture

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "Picture",
    "UnreadableImageError",
    "count_pages",
    "encode_picture",
    "read_picture",
    "read_size",
    "resize",
    "to_gray",
    "to_uint8",
    "write_pages",
]
