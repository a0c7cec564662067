"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import MethodSpec


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """Pix2Pix."""
    yield MethodSpec(
        name="pix2pix",
        target="translatekit_pix2pix.method:Pix2Pix",
        options="translatekit_pix2pix.options:Pix2PixOptions",
        summary="paired images: a conditional GAN held to its targets by L1",
        data="paired",
        generator="unet",
        discriminator="patch",
        dataset="aligned",
    )
