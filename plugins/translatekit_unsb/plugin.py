"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.bridge import CONDITIONS
from translatekit.hookspecs import hookimpl
from translatekit.specs import DiscriminatorSpec, GeneratorSpec, MethodSpec


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generator that is told a time."""
    yield GeneratorSpec(
        name="bridge-resnet",
        target="translatekit_unsb.networks:BridgeResNet",
        summary="residual blocks whose normalization follows the time on a bridge, for unsb",
        size_multiple=4,
        conditions=CONDITIONS,
    )


@hookimpl
def register_discriminators() -> Iterable[DiscriminatorSpec]:
    """The discriminator that is told a step."""
    yield DiscriminatorSpec(
        name="conditional-patch",
        target="translatekit_unsb.networks:ConditionalPatchGAN",
        summary="patch, told a class of the image, such as the step of a bridge",
        conditional=True,
    )


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """UNSB."""
    yield MethodSpec(
        name="unsb",
        target="translatekit_unsb.method:UNSB",
        options="translatekit_unsb.options:UNSBOptions",
        summary="two unpaired sets, one way, by several passes, each of which refines the one before",
        data="unpaired",
        directed=True,
        generator="bridge-resnet",
        discriminator="conditional-patch",
        dataset="unaligned",
        defaults=(
            ("discriminator_options", {"norm": "instance"}),
            ("init", "xavier"),
            ("epochs", 200),
            ("epochs_decay", 200),
        ),
    )
