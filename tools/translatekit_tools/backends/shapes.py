"""The sizes of images that a compiled file is built for, where it does not take any."""

from __future__ import annotations

from translatekit.errors import DataError, OptionError
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size


def fixed_sizes(shapes: str | None, info: ModelInfo, runtime: str) -> tuple[Size, ...]:
    """The sizes that ``--shapes`` asks for, of a runtime that takes no ranges.

    Args:
        shapes: ``WxH,WxH,...``; None for the size that the model was trained at.
        info: of the model.
        runtime: its name, for the error.

    Raises:
        OptionError: an entry cannot be understood, is a range, or is no multiple of what the network needs.
    """
    if shapes is None:
        side = _up(info.size, info.size_multiple)
        return (Size(side, side),)
    sizes = []
    for entry in (entry.strip() for entry in shapes.split(",")):
        if "/" in entry:
            raise OptionError(
                f"{runtime} takes single sizes and no ranges, got {entry!r}: pass --shapes with the sizes that are used"
            )
        height, width = parse_size(entry, entry, info)
        sizes.append(Size(width, height))
    return tuple(dict.fromkeys(sizes))


def check_fixed_size(
    batch_shape: tuple[int, ...], info: ModelInfo, sizes: tuple[str, ...], *, several: bool = True
) -> None:
    """Refuse images of a size that a file was not compiled for.

    Args:
        batch_shape: (N, H, W, C).
        info: of the file.
        sizes: that it was compiled for, each as ``512x256``, width x height.
        several: whether such a file can be compiled for more than one.

    Raises:
        DataError: they are of another.
    """
    size = str(Size(batch_shape[2], batch_shape[1]))
    if size not in sizes:
        wanted = [*sizes, size] if several else [size]
        raise DataError(
            f"the compiled {info.generator} takes images of {' or '.join(sizes)} only, got {size}: "
            f"pass --size {sizes[0]} or --tile, or compile it again with --shapes {','.join(wanted)}"
        )


def parse_size(size: str, entry: str, info: ModelInfo) -> tuple[int, int]:
    """Height and width in pixels of one size of ``--shapes``.

    Args:
        size: such as ``512x256``, width x height.
        entry: what the user wrote, for the error.
        info: of the model.

    Raises:
        OptionError: it is no size, or no multiple of what the network needs.
    """
    try:
        width, height = Size.parse(size)
    except ValueError:
        raise OptionError(
            f"--shapes takes sizes such as 512x256, width x height, got {entry!r}: write it so"
        ) from None
    multiple = info.size_multiple
    if height % multiple or width % multiple:
        raise OptionError(
            f"{info.generator} needs sides that are multiples of {multiple}, got {size} in --shapes: "
            f"pass --shapes {Size(_up(width, multiple), _up(height, multiple))}"
        )
    return height, width


def _up(side: int, multiple: int) -> int:
    return max(1, -(-side // multiple)) * multiple
