"""OpenVINO's ``.xml`` and ``.bin`` with our header in them, read without OpenVINO."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from translatekit.errors import ModelFileError
from translatekit.model_info import ModelInfo
from translatekit.storage import write_atomically
from translatekit_tools.graphs.reading import check_finite, damaged, header_of

_KIND = "OpenVINO model"
_FLOATS = {"f32": "<f4", "f16": "<f2", "f64": "<f8"}  # OpenVINO's names and numpy's


def read_info(path: Path) -> ModelInfo:
    """What an ``.xml`` file says of itself, read without OpenVINO.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    element = _tree(path).find("rt_info/translatekit")
    return header_of(None if element is None else element.get("value", ""), path)


def check_weights(path: Path) -> None:
    """See that the numbers in the ``.bin`` beside an ``.xml`` file are finite.

    Raises:
        ModelFileError: one is not, or a file is damaged.
    """
    again = "compile the model again"
    numbers = path.with_suffix(".bin")
    try:
        data = np.memmap(numbers, np.uint8, "r") if numbers.stat().st_size else np.empty(0, np.uint8)
        for constant in _tree(path).iterfind("layers/layer[@type='Const']/data"):
            dtype = _FLOATS.get(constant.get("element_type", ""))
            start, size = int(constant.get("offset", "0")), int(constant.get("size", "0"))
            if start < 0 or size < 0 or start + size > len(data):
                raise ModelFileError(f"{numbers} is truncated: copy both files again, or {again}")
            if dtype is not None:
                check_finite(path, [data[start : start + size].view(dtype)])
    except OSError as error:
        raise ModelFileError(
            f"{numbers} cannot be read ({error.strerror}): copy both files, or {again}"
        ) from None
    except ValueError:
        raise damaged(path, _KIND) from None


def write_info(path: Path, info: ModelInfo) -> None:
    """Put a header into an ``.xml`` file, in place of the one that it has."""
    tree = _tree(path)
    rt_info = tree.find("rt_info")
    if rt_info is None:
        rt_info = ElementTree.SubElement(tree, "rt_info")
    element = rt_info.find("translatekit")
    if element is None:
        element = ElementTree.SubElement(rt_info, "translatekit")
    element.set("value", info.to_json())
    write_atomically(path, ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True))


def _tree(path: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): check the path") from None
    except (ElementTree.ParseError, ValueError, LookupError):  # the latter two of encodings
        raise damaged(path, _KIND) from None
    if tree.tag != "net":
        raise ModelFileError(f"{path} is no OpenVINO model: give a file that translatekit compile wrote")
    return tree
