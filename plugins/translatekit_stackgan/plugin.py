"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import DiscriminatorSpec, GeneratorSpec, MethodSpec


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """StackGAN."""
    yield MethodSpec(
        name="stackgan",
        target="translatekit_stackgan.method:StackGAN",
        options="translatekit_stackgan.options:StackGANOptions",
        summary="labelled or described images: makes new ones in two stages, small and then large",
        data="labelled",
        generator="stackgan",
        discriminator="stackgan",
        dataset="labelled",
        defaults=(
            ("norm_inference", "running"),
            ("load_size", 76),
            ("crop_size", 64),
            ("batch_size", 64),
            ("epochs", 600),
            ("epochs_decay", 0),
        ),
    )


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generator of both stages."""
    yield GeneratorSpec(
        name="stackgan",
        target="translatekit_stackgan.networks:StackGANGenerator",
        summary="from noise and a label, or a text's embedding, to a small image, and from that to a large one",
        source="latent",
    )


@hookimpl
def register_discriminators() -> Iterable[DiscriminatorSpec]:
    """The discriminator of either stage."""
    yield DiscriminatorSpec(
        name="stackgan",
        target="translatekit_stackgan.networks:StackGANDiscriminator",
        summary="strided convolutions over an image, and its condition beside the last features",
        conditional=True,
    )
