"""Images as arrays: every kind of file a folder may hold, read and written with all that can be kept."""

from translatekit.images.fit import fit_image, image_from
from translatekit.images.image import Header, Image
from translatekit.images.labels import with_edges
from translatekit.images.picture import (
    MAX_PIXELS,
    Picture,
    UnreadableImageError,
    resize,
    to_gray,
    to_uint8,
)
from translatekit.images.reading import (
    IMAGE_SUFFIXES,
    count_pages,
    read_header,
    read_image,
    read_picture,
    read_size,
)
from translatekit.images.tiff import write_pages
from translatekit.images.writing import WRITABLE_SUFFIXES, encode_image, encode_picture, image_of

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "Header",
    "Image",
    "Picture",
    "UnreadableImageError",
    "count_pages",
    "encode_image",
    "encode_picture",
    "fit_image",
    "image_from",
    "image_of",
    "read_header",
    "read_image",
    "read_picture",
    "read_size",
    "resize",
    "to_gray",
    "to_uint8",
    "with_edges",
    "write_pages",
]
