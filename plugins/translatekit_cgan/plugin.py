"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import DiscriminatorSpec, GeneratorSpec, MethodSpec


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """The conditional GAN."""
    yield MethodSpec(
        name="cgan",
        target="translatekit_cgan.method:CGAN",
        options="translatekit_cgan.options:CGANOptions",
        summary="labelled images: makes new ones of a class you name, from noise",
        data="labelled",
        generator="dcgan",
        discriminator="dcgan",
        dataset="labelled",
        defaults=(
            ("norm_inference", "running"),
            ("load_size", 32),
            ("crop_size", 32),
            ("flip", False),
            ("batch_size", 64),
            ("epochs", 10),
            ("epochs_decay", 0),
        ),
    )


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generator from noise."""
    yield GeneratorSpec(
        name="dcgan",
        target="translatekit_cgan.networks:DCGANGenerator",
        summary="transposed convolutions from noise and a label to an image, as in DCGAN",
        source="latent",
    )


@hookimpl
def register_discriminators() -> Iterable[DiscriminatorSpec]:
    """Its discriminator."""
    yield DiscriminatorSpec(
        name="dcgan",
        target="translatekit_cgan.networks:DCGANDiscriminator",
        summary="strided convolutions over an image and its label's planes",
        conditional=True,
    )
