"""Images as arrays: every kind of file a folder may hold, read and written with all that can be kept."""

from translatekit.images.fit import fit_image, image_from
from translatekit.images.formats import (
    OpenImage,
    count_pages,
    encode_image,
    image_of,
    image_suffixes,
    is_image,
    open_image,
    read_header,
    read_image,
    read_levels,
    read_size,
    suffix_of,
    writable_suffixes,
    write_volume,
)
from translatekit.images.image import Header, Image
from translatekit.images.labels import with_edges
from translatekit.images.pixels import (
    MAX_PIXELS,
    UnreadableImageError,
    resize,
    to_gray,
    to_uint8,
)
from translatekit.images.tiff import write_pages

__all__ = [
    "MAX_PIXELS",
    "Header",
    "Image",
    "OpenImage",
    "UnreadableImageError",
    "count_pages",
    "encode_image",
    "fit_image",
    "image_from",
    "image_of",
    "image_suffixes",
    "is_image",
    "open_image",
    "read_header",
    "read_image",
    "read_levels",
    "read_size",
    "resize",
    "suffix_of",
    "to_gray",
    "to_uint8",
    "with_edges",
    "writable_suffixes",
    "write_pages",
    "write_volume",
]
