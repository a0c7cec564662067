"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import MethodSpec


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """CycleGAN."""
    yield MethodSpec(
        name="cyclegan",
        target="translatekit_cyclegan.method:CycleGAN",
        options="translatekit_cyclegan.options:CycleGANOptions",
        summary="two unpaired sets of images: translators both ways, held together by cycle consistency",
        data="unpaired",
        generator="resnet",
        discriminator="patch",
        dataset="unaligned",
        defaults=(
            ("generator_options", {"norm": "instance"}),
            ("discriminator_options", {"norm": "instance"}),
        ),
    )
