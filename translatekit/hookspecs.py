"""The plugin manual: the hooks a package may implement to add to translatekit.

A plugin is a module named by an entry point of the group ``translatekit``::

    [project.entry-points.translatekit]
    mynets = "mynets.plugin"

In it, any of the functions below, marked with `hookimpl`. Each takes no arguments and returns descriptors from
`translatekit.specs`. They are called once, when something of their kind is first looked up, in a process that may
never need torch: so the module must import neither torch nor anything heavy. ``translatekit plugins new NAME``
writes a complete package to start from, and ``translatekit plugins check NAME`` runs the contract suite on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from translatekit.specs import (
    BackendSpec,
    CommandSpec,
    DatasetSpec,
    DiscriminatorSpec,
    FormatSpec,
    GeneratorSpec,
    LoggerSpec,
    LossSpec,
    MethodSpec,
    MetricSpec,
)

PROJECT = "translatekit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_generators() -> Iterable[GeneratorSpec]:  # type: ignore[empty-body]
    """Networks that make images.

    Called when a generator is looked up by name, and to list them. Example::

        @hookimpl
        def register_generators():
            yield GeneratorSpec(name="tiny", target="mynets.tiny:Tiny", summary="Three convolutions")
    """


@hookspec
def register_discriminators() -> Iterable[DiscriminatorSpec]:  # type: ignore[empty-body]
    """Networks that tell real images from generated ones.

    Called when a discriminator is looked up by name, and to list them. Example::

        @hookimpl
        def register_discriminators():
            yield DiscriminatorSpec(name="multiscale", target="mynets.d:Multiscale", summary="Three PatchGANs")
    """


@hookspec
def register_losses() -> Iterable[LossSpec]:  # type: ignore[empty-body]
    """Adversarial and reconstruction losses.

    Called when a loss is looked up by name, and to list them. Example::

        @hookimpl
        def register_losses():
            yield LossSpec(name="huber", target="mynets.losses:Huber", summary="Smooth L1", role="reconstruction")
    """


@hookspec
def register_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Ways to read training images from a folder.

    Called when a dataset is looked up by name, and to list them. Example::

        @hookimpl
        def register_datasets():
            yield DatasetSpec(name="tiles", target="mynets.tiles:Tiles", summary="Map tiles", provides="paired")
    """


@hookspec
def register_methods() -> Iterable[MethodSpec]:  # type: ignore[empty-body]
    """Training methods: what ``translatekit train`` takes as its first argument.

    Called when a method is looked up by name, and to list them. Example::

        @hookimpl
        def register_methods():
            yield MethodSpec(
                name="mymethod", target="mynets.method:MyMethod", options="mynets.options:MyOptions",
                summary="Pairs with a twist", data="paired",
                generator="unet", discriminator="patch", dataset="aligned",
            )
    """


@hookspec
def register_metrics() -> Iterable[MetricSpec]:  # type: ignore[empty-body]
    """Figures of how good outputs are, for validation and ``evaluate``.

    Called when a metric is looked up by name, and to list them. Example::

        @hookimpl
        def register_metrics():
            yield MetricSpec(name="mse", target="mynets.metrics:MSE", summary="Mean squared error",
                             compares="pairs", better="lower", minimum=0, perfect=0.0)
    """


@hookspec
def register_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """What runs model files of a suffix.

    Called when a model file is opened, and to list them. Example::

        @hookimpl
        def register_backends():
            yield BackendSpec(name="mine", target="mynets.backend:load", summary="My runtime",
                              suffixes=(".mine",), devices=("cpu",))
    """


@hookspec
def register_formats() -> Iterable[FormatSpec]:  # type: ignore[empty-body]
    """Formats of image files.

    Called when a file of a suffix is read or written, to find images in folders, and to list them. Example::

        @hookimpl
        def register_formats():
            yield FormatSpec(name="mine", target="mynets.files:open_mine", summary="My scanner's files",
                             suffixes=(".mine",), writer="mynets.files:encode_mine", dtypes=("uint16",), channels=(1,))
    """


@hookspec
def register_loggers() -> Iterable[LoggerSpec]:  # type: ignore[empty-body]
    """Where a training's figures and samples go beside the run's folder.

    Called when a logger is looked up by name, and to list them. Example::

        @hookimpl
        def register_loggers():
            yield LoggerSpec(name="mine", target="mynets.log:Mine", summary="My server of experiments")
    """


@hookspec
def register_commands() -> Iterable[CommandSpec]:  # type: ignore[empty-body]
    """Commands of the ``translatekit`` program.

    Called on every start of the program to list the commands; the command itself is imported when it is run or
    its help is shown. Example::

        @hookimpl
        def register_commands():
            yield CommandSpec(name="stats", target="mynets.cli:stats", summary="Statistics of a model")
    """


HOOKS: dict[str, str] = {
    "generator": "register_generators",
    "discriminator": "register_discriminators",
    "loss": "register_losses",
    "dataset": "register_datasets",
    "method": "register_methods",
    "metric": "register_metrics",
    "backend": "register_backends",
    "format": "register_formats",
    "logger": "register_loggers",
    "command": "register_commands",
}
