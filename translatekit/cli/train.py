"""``translatekit train``: its methods are subcommands, made from the installed methods and their options."""

from __future__ import annotations

from typing import Any

import rich_click as click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.errors import OptionError
from translatekit.registry import registry
from translatekit.terminal import echo

_CONFIG = click.Option(
    ["--config"], type=click.Path(), help="Repeat the run of this config.toml; other options change it."
)
_RESUME = click.Option(
    ["--resume"], type=click.Path(), metavar="RUN", help="Go on with an interrupted run, exactly."
)
_AUTORESUME = click.Option(
    ["--autoresume"],
    is_flag=True,
    help="Go on with the run in the folder of -o if there is one, else start it: for launchers that start the same "
    "command again.",
)


class Methods(click.RichGroup):
    """The installed methods as commands, each made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return registry("method").names()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; a run that is repeated or resumed says itself by which method."""
        return super().parse_args(ctx, _with_method(args))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command of one method.

        Raises:
            PluginError: there is no such method.
        """
        from translatekit.config import OF_DISCRIMINATORS, TrainOptions

        spec = registry("method").get(cmd_name)
        own = spec.load_options()
        shown = {
            **dict(spec.defaults),
            "dataset": spec.dataset,
            "generator": spec.generator,
            "discriminator": spec.discriminator,
        }

        without = () if spec.discriminator else OF_DISCRIMINATORS

        def callback(
            data: tuple[str, ...], config: str | None, resume: str | None, autoresume: bool, **params: Any
        ) -> None:
            given = {**collect(TrainOptions, params), **collect(own, params)}
            _train(cmd_name, data, config, resume, given, autoresume)

        return click.RichCommand(
            name=cmd_name,
            params=[
                click.Argument(["data"], required=False, nargs=-1, type=click.Path()),
                *options_from_dataclass(own),
                *options_from_dataclass(TrainOptions, skip=without, defaults=shown),
                _CONFIG,
                _RESUME,
                _AUTORESUME,
            ],
            callback=callback,
            short_help=spec.summary,
            help=f"Train {cmd_name} on the images in DATA, or in two folders, A and B: {spec.summary}.\n\n"
            "Without DATA, a method for pairs trains on the built-in demo. With --resume, DATA says where the images "
            "of the run are now, if they have moved.",
        )


@click.group(cls=Methods, invoke_without_command=True, params=[_CONFIG, _RESUME])
@click.pass_context
def train(ctx: click.Context, config: str | None, resume: str | None) -> None:
    """Train a translator on your images: translatekit train METHOD [DATA].

    A run is a folder: config.toml repeats it, model.safetensors is what you use, index.html shows how it went.
    """
    if ctx.invoked_subcommand is not None:
        return
    if config is None and resume is None:
        click.echo(ctx.get_help())
        return
    _train(None, (), config, resume, {})


def _with_method(args: list[str]) -> list[str]:
    """Arguments of ``train`` that begin with the method's name.

    Raises:
        OptionError: ``--config`` names no configuration.
        TrainingError: ``--resume`` names no run.
    """
    from translatekit.config import read_toml, run_config

    if not args or not args[0].startswith("-"):
        return args
    for index, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if flag not in ("--config", "--resume"):
            continue
        behind = index + (1 if equals else 2)
        if len(args) == behind - index:
            break  # nothing else is given, so no method's options need to be known
        if not equals:
            value = "".join(args[index + 1 : behind])
        if not value:
            break  # which click explains
        if args[behind : behind + 1] and args[behind] in registry("method").names():
            return [args[behind], *args[:behind], *args[behind + 1 :]]
        method, _, _ = read_toml(run_config(value) if flag == "--resume" else value)
        return [method, *args]
    return args


def _train(
    method: str | None,
    data: tuple[str, ...],
    config: str | None,
    resume: str | None,
    given: dict[str, Any],
    autoresume: bool = False,
) -> None:
    from translatekit.storage import is_uri, shown
    from translatekit.training import train as start
    from translatekit.training.fabric import rank_zero_only

    if len(data) > 2:
        raise OptionError(
            f"train takes one folder of images, or two, A and B, got {len(data)}: {', '.join(data)}"
        )
    images = (data[0], data[1]) if len(data) == 2 else data[0] if data else None
    folder = start(method, images, config=config, resume=resume, autoresume=autoresume, **given)
    if rank_zero_only.rank == 0:  # of several processes, one speaks
        named = [shown(place) for place in (given.get("output"), resume) if place and is_uri(place)]
        echo(named[0] if named else folder)
