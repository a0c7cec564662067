"""High dynamic range: how it is told, and what a file says of the screen it was made on and of its brightest parts."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

PQ, HLG = 16, 18
"""Transfer functions of ISO/IEC 23091-2 that are HDR: SMPTE ST 2084 and ARIB STD-B67."""

BT2020 = 9
"""The primaries of ITU-R BT.2020 there."""

_TRANSFERS = {PQ: "PQ", HLG: "HLG"}
_RATIONALS = struct.Struct("=20i2i")  # AVMasteringDisplayMetadata of libavutil
_LEVELS = struct.Struct("=2I")  # AVContentLightMetadata
_DYNAMIC = {
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}


def named(primaries: int, transfer: int) -> str:
    """What a video is that is not SDR in the colours of BT.709, such as ``HDR (PQ, BT.2020)``; empty for others.

    Args:
        primaries, transfer: its colour description, as in ISO/IEC 23091-2.
    """
    gamut = ["BT.2020"] if primaries == BT2020 else []
    if transfer in _TRANSFERS:
        return f"HDR ({', '.join([_TRANSFERS[transfer], *gamut])})"
    return "wide-gamut SDR (BT.2020)" if gamut else ""


def seen_by_models(path: object, gamut: str, output: str = "") -> str:
    """The sentence of a video whose values go through a model as they are.

    Args:
        path: the video.
        gamut: as `named` has it.
        output: what becomes of its colour description in the output.
    """
    look = "dark and pale" if gamut.startswith("HDR") else "pale"
    return (
        f"{path} is {gamut}: its values are taken as they are, with no tone mapping, so that a model that was trained "
        f"on SDR images sees {look} ones{f'; {output}' if output else ''}. Pass --hdr sdr to tone-map it to SDR"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdr:
    """Metadata that do not change over a video, SMPTE ST 2086 and CTA-861.3; and what there is that does.

    Attributes:
        primaries: x and y of red, green, blue and white on the mastering display; empty where the file does not say.
        luminance: of that display, minimum and maximum, in cd/m2; empty likewise.
        levels: maximum content light level and maximum frame-average light level, in cd/m2; empty likewise.
        dynamic: names of metadata that each frame has of its own.
    """

    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    levels: tuple[int, ...] = ()
    dynamic: tuple[str, ...] = ()

    def mastering_display(self, chromaticity: float, luminance: float) -> str | None:
        """As encoders take it, in units of so many a one: ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``."""
        if not self.primaries or not self.luminance:
            return None
        scaled = [value * chromaticity for value in self.primaries]
        points = dict(zip(("R", "G", "B", "WP"), zip(scaled[::2], scaled[1::2], strict=True), strict=True))
        minimum, maximum = (value * luminance for value in self.luminance)
        whole = chromaticity > 1

        def pair(a: float, b: float) -> str:
            return f"({a:.0f},{b:.0f})" if whole else f"({a:.5f},{b:.5f})"

        return (
            "".join(name + pair(*points[name]) for name in ("G", "B", "R", "WP"))
            + "L"
            + pair(maximum, minimum)
        )


def hdr_of(frame: Any) -> Hdr:
    """What a frame of PyAV's says."""
    data = {side.type.name: bytes(side) for side in frame.side_data}
    primaries: tuple[float, ...] = ()
    luminance: tuple[float, ...] = ()
    levels: tuple[int, ...] = ()
    if len(mastering := data.get("MASTERING_DISPLAY_METADATA", b"")) >= _RATIONALS.size:
        *numbers, has_primaries, has_luminance = _RATIONALS.unpack_from(mastering)
        values = [a / b if b else 0.0 for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
        primaries = tuple(values[:8]) if has_primaries else ()
        luminance = tuple(values[8:]) if has_luminance else ()
    if len(light := data.get("CONTENT_LIGHT_LEVEL", b"")) >= _LEVELS.size:
        levels = _LEVELS.unpack_from(light)
    dynamic = tuple(dict.fromkeys(_DYNAMIC[name] for name in data if name in _DYNAMIC))
    return Hdr(primaries=primaries, luminance=luminance, levels=levels, dynamic=dynamic)


def encoder_options(hdr: Hdr, codec: str) -> dict[str, str] | None:
    """Options that make an encoder write them, or None where it has none."""
    if codec in ("libx264", "libx265"):
        parts = []
        x265 = codec == "libx265"
        if (display := hdr.mastering_display(50_000, 10_000)) is not None:
            parts.append(f"{'master-display' if x265 else 'mastering-display'}={display}")
        if hdr.levels:
            parts.append(f"{'max-cll' if x265 else 'cll'}={hdr.levels[0]},{hdr.levels[1]}")
        return {f"{codec[3:]}-params": ":".join(parts)} if parts else {}
    if codec == "libsvtav1":
        parts = []
        if (display := hdr.mastering_display(1, 1)) is not None:
            parts.append(f"mastering-display={display}")
        if hdr.levels:
            parts.append(f"content-light={hdr.levels[0]},{hdr.levels[1]}")
        return {"svtav1-params": ":".join(parts)} if parts else {}
    return None
