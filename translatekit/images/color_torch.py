"""CIE L*a*b* (D65) and sRGB on tensors: the ways into and out of a network that adds colour.

Elementary operations only, so that they export to ONNX as part of a model.
"""

from __future__ import annotations

import torch

from translatekit.images.color import AB_SCALE, EPSILON, KAPPA, L_SCALE, RGB_TO_XYZ

_CUBE_ROOT_OF_EPSILON = 6 / 29
_TINY = 1e-6  # keeps pow() off zero, where its gradient is infinite


def gray_to_l(gray: torch.Tensor) -> torch.Tensor:
    """Lightness of sRGB gray values.

    Args:
        gray: (N, 1, H, W) in [0, 1].

    Returns:
        (N, 1, H, W): L* scaled to [-1, 1] (L*/50 - 1).
    """
    y = torch.where(gray <= 0.04045, gray / 12.92, ((gray.clamp(min=_TINY) + 0.055) / 1.055).pow(2.4))
    lightness = torch.where(y > EPSILON, 116.0 * y.clamp(min=_TINY).pow(1 / 3) - 16.0, KAPPA * y)
    return lightness / L_SCALE - 1.0


def lab_to_rgb(l: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:  # noqa: E741
    """sRGB of scaled L*a*b*; colours outside of sRGB are clipped.

    Args:
        l: (N, 1, H, W), L* scaled to [-1, 1] (L*/50 - 1).
        ab: (N, 2, H, W), a* and b* scaled to [-1, 1] (divided by 110).

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    fy = ((l + 1.0) * L_SCALE + 16.0) / 116.0
    fx = fy + ab[:, 0:1] * (AB_SCALE / 500.0)
    fz = fy - ab[:, 1:2] * (AB_SCALE / 200.0)
    x, y, z = (
        white * torch.where(f > _CUBE_ROOT_OF_EPSILON, f * f * f, (116.0 * f - 16.0) / KAPPA)
        for f, white in zip((fx, fy, fz), (sum(row) for row in RGB_TO_XYZ), strict=True)
    )
    linear = torch.cat([r * x + g * y + b * z for r, g, b in _XYZ_TO_RGB], dim=1).clamp(0.0, 1.0)
    curved = 1.055 * linear.clamp(min=_TINY).pow(1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved).clamp(0.0, 1.0)


_XYZ_TO_RGB: list[list[float]] = torch.linalg.inv(torch.tensor(RGB_TO_XYZ, dtype=torch.float64)).tolist()
