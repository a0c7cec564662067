"""CIE L*a*b* (D65) of sRGB images, as arrays; `translatekit.images.color_torch` has the way back."""

from __future__ import annotations

import numpy as np

# IEC 61966-2-1, linear sRGB to CIE XYZ; the rows, summed, are the D65 white point.
RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
EPSILON, KAPPA = 216 / 24389, 24389 / 27  # CIE 15: where the cube root gives way to a straight line
AB_SCALE = 110.0  # sRGB's a* and b* lie in about [-108, 99]
L_SCALE = 50.0


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """L*a*b* of sRGB pixels.

    Args:
        rgb: (..., 3), uint8 in [0, 255] or float in [0, 1].

    Returns:
        float32 (..., 3): L* in [0, 100], a* and b* in about [-108, 99].
    """
    rgb = rgb.astype(np.float32) / 255.0 if rgb.dtype == np.uint8 else rgb.astype(np.float32)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.asarray(RGB_TO_XYZ, np.float32)
    xyz = linear @ (matrix / matrix.sum(axis=1, keepdims=True)).T
    f = np.where(xyz > EPSILON, np.cbrt(xyz), (KAPPA * xyz + 16.0) / 116.0)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1).astype(np.float32)


def scaled_l(gray: np.ndarray) -> np.ndarray:
    """L* of sRGB gray values, uint8 in [0, 255] or float in [0, 1], scaled to [-1, 1] (L*/50 - 1)."""
    gray = gray.astype(np.float32) / 255.0 if gray.dtype == np.uint8 else gray.astype(np.float32)
    y = np.where(gray <= 0.04045, gray / 12.92, ((gray + 0.055) / 1.055) ** 2.4)
    lightness = np.where(y > EPSILON, 116.0 * np.cbrt(y) - 16.0, KAPPA * y)
    return (lightness / L_SCALE - 1.0).astype(np.float32)


def scaled_ab(rgb: np.ndarray) -> np.ndarray:
    """a* and b* of sRGB pixels (..., 3), scaled to [-1, 1] (divided by 110), float32 (..., 2)."""
    return np.clip(rgb_to_lab(rgb)[..., 1:] / AB_SCALE, -1.0, 1.0)
