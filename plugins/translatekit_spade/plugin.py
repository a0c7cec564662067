"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import GeneratorSpec, MethodSpec


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generator of SPADE."""
    yield GeneratorSpec(
        name="spade",
        target="translatekit_spade.networks:SPADEGenerator",
        summary="a decoder whose normalizations the label map steers, as in SPADE (upsamplings=6 for 256 pixels)",
        size_multiple=64,
    )


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """SPADE."""
    yield MethodSpec(
        name="spade",
        target="translatekit_spade.method:SPADE",
        options="translatekit_spade.options:SPADEOptions",
        summary="photographs from label maps, which steer each normalization: several styles of one map, if wanted",
        data="paired",
        generator="spade",
        discriminator="patch",
        dataset="aligned",
        defaults=(
            ("discriminator_options", {"norm": "instance"}),
            ("spectral_norm", True),
            ("init", "xavier"),
            ("lr", 1e-4),
            ("lr_discriminator", 4e-4),
            ("beta1", 0.0),
        ),
    )
