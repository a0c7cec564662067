"""What is common to all readers: opening files, and saying in one sentence what is wrong with them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from translatekit.errors import DataError, PluginError
from translatekit.images.pixels import MAX_PIXELS, UnreadableImageError


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one sentence."""
    # Not warnings.catch_warnings, which is not safe with several threads. An equal filter is not added twice.
    warnings.filterwarnings("ignore", module=r"(PIL|pydicom|nibabel|rasterio)\.")
    try:
        yield
    except FileNotFoundError:
        raise UnreadableImageError(f"there is no image {name}: check the path") from None
    except (DataError, PluginError) as error:
        raise UnreadableImageError(f"{name} cannot be read: {error}") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(
            f"{name} cannot be read: it is no image, or damaged at its start; replace or remove it"
        ) from None
    except (Image.DecompressionBombError, MemoryError):
        raise UnreadableImageError(
            f"{name} cannot be read: it claims more than {MAX_PIXELS:,} pixels, too many at once; save it as a tiled "
            "TIFF, which translatekit run --format tiff reads by parts, cut it up, or remove it"
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise UnreadableImageError(
            f"{name} cannot be read: it is damaged or not accessible ({reason}); replace or remove it"
        ) from None


def opened(source: Path | bytes) -> BinaryIO:
    """A file, or a file's contents, at its start.

    Raises:
        UnreadableImageError: it is empty.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    if not file.read(1):
        file.close()
        raise UnreadableImageError("it is empty; replace or remove it")
    file.seek(0)
    return file
