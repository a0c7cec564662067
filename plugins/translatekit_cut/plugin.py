"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import MethodSpec


@hookimpl
def register_methods() -> Iterable[MethodSpec]:
    """CUT and FastCUT."""
    for name, options, epochs, epochs_decay, summary in (
        (
            "cut",
            "CUTOptions",
            200,
            200,
            "two unpaired sets, one way: each patch of an output is held to its own of the input",
        ),
        (
            "fastcut",
            "FastCUTOptions",
            150,
            50,
            "cut without its identity loss: quicker, and closer to the input",
        ),
    ):
        yield MethodSpec(
            name=name,
            target="translatekit_cut.method:CUT",
            options=f"translatekit_cut.options:{options}",
            summary=summary,
            data="unpaired",
            directed=True,
            generator="resnet",
            discriminator="patch",
            dataset="unaligned",
            defaults=(
                ("generator_options", {"norm": "instance"}),
                ("discriminator_options", {"norm": "instance"}),
                ("init", "xavier"),
                ("epochs", epochs),
                ("epochs_decay", epochs_decay),
            ),
        )
