"""A model made ready for others: a page that runs it in the browser, a folder for a hub, or one for a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from translatekit.interfaces import Progress
from translatekit_tools.publish.model import Model, Published

__all__ = ["Model", "Published", "publish"]

KINDS = {
    "page": "translatekit_tools.publish.page:publish",
    "hub": "translatekit_tools.publish.hub:publish",
    "triton": "translatekit_tools.publish.triton:publish",
    "docker": "translatekit_tools.publish.docker:publish",
}
"""What there is to publish, by the word of ``--as``: functions of a `Model`, the place to write, the options and a
`Progress`, each of which returns a `Published`."""


def publish(
    model: str | Path, out: str | Path | None = None, *, progress: Progress | None = None, **options: Any
) -> Published:
    """Publish a model, as ``translatekit publish`` does.

    Args:
        model: a model file, or a run's folder; or the address of one.
        out: the folder to write; for a page in a single file, that file. None for what is pushed to a hub and kept
            nowhere else.
        progress: told what is being done.
        options: fields of `translatekit_tools.publish.options.PublishOptions`.

    Raises:
        TranslatekitError: the model cannot be published so, or the place cannot be written; what was there stays.
    """
    from translatekit.errors import OptionError
    from translatekit.model_file import find_model, name_of, read_any_info
    from translatekit.options import check_options
    from translatekit.specs import import_target
    from translatekit.storage import is_uri, local_copy, shown
    from translatekit_tools.publish.options import PublishOptions

    checked = PublishOptions(**check_options(PublishOptions, options, "publish()"))
    checked.check_kind(KINDS)
    if out is None and checked.push is None:
        raise OptionError("it is not said where to publish to: name a folder with -o")
    if out is not None and is_uri(out):
        raise OptionError(
            f"{shown(out)} is no local folder: name one with -o, and where to upload it with --push hf://user/name"
        )
    place = local_copy(model)
    path = find_model(place, checked.direction, best=checked.best)
    others: list[Path] = []
    if place.is_dir() and checked.direction is None:
        stem = "best" if checked.best else "model"
        others = [other for other in sorted(place.glob(f"{stem}*{path.suffix}")) if other != path]
    subject = Model(path=path, info=read_any_info(path), name=name_of(path), others=tuple(others))
    make = import_target(KINDS[checked.kind], f"--as {checked.kind}")
    published: Published = make(
        subject,
        None if out is None else Path(out).expanduser(),
        checked,
        progress or (lambda text, share: None),
    )
    if others and checked.kind != "hub":  # which holds them all
        names = [read_any_info(other).direction for other in others]
        note = (
            f"The run has {len(names) + 1} directions, and this is {subject.info.direction}: publish "
            f"{' and '.join(f'the other with --direction {name}' for name in names)}"
        )
        published = replace(published, notes=(*published.notes, note))
    return published
