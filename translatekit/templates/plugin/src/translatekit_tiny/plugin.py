"""What this package offers to translatekit. Imports nothing heavy: it is read on every start of the program."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import GeneratorSpec


@hookimpl
def register_generators() -> Iterable[GeneratorSpec]:
    """The generators of this package."""
    yield GeneratorSpec(
        name="tiny",
        target="translatekit_tiny.generator:Tiny",
        summary="residual blocks with growing dilation, at half the resolution",
        size_multiple=2,
    )
