"""Networks, and the functions that make them by name."""

from __future__ import annotations

from translatekit.networks.factory import Networks, make_discriminator, make_generator
from translatekit.networks.layers import init_weights, set_noise, set_norm_inference
from translatekit.networks.loading import load_network

__all__ = [
    "Networks",
    "init_weights",
    "load_network",
    "make_discriminator",
    "make_generator",
    "set_noise",
    "set_norm_inference",
]
