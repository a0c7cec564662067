"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from translatekit.hookspecs import hookimpl
from translatekit.specs import GeneratorSpec, MethodSpec

# A short run that ends: the rate falls to zero within few epochs, and the average takes out what the last steps jitter.
FAST: Mapping[str, Any] = {"epochs": 4, "epochs_decay": 8, "schedule": "cosine", "ema": 0.998}


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generator of Pix2PixHD."""
    yield GeneratorSpec(
        name="coarse_to_fine",
        target="translatekit_pix2pix.networks:CoarseToFine",
        summary="a global generator and local enhancers around it, as in Pix2PixHD (enhancers=1 for 2048x1024)",
        size_multiple=16,
    )


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """Pix2Pix and Pix2PixHD."""
    yield MethodSpec(
        name="pix2pix",
        target="translatekit_pix2pix.method:Pix2Pix",
        options="translatekit_pix2pix.options:Pix2PixOptions",
        summary="paired images: a conditional GAN held to its targets by L1",
        data="paired",
        generator="unet",
        discriminator="patch",
        dataset="aligned",
        recipes={"fast": FAST},
    )
    yield MethodSpec(
        name="pix2pixhd",
        target="translatekit_pix2pix.method:Pix2Pix",
        options="translatekit_pix2pix.options:Pix2PixHDOptions",
        summary="paired images, also large ones: discriminators of three scales, whose features outputs are to match",
        data="paired",
        generator="coarse_to_fine",
        discriminator="patch",
        dataset="aligned",
        defaults=(
            ("generator_options", {"norm": "instance"}),
            ("discriminator_options", {"norm": "instance"}),
        ),
    )
