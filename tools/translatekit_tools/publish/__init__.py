"""A model made ready for others: a page that runs it in the browser, a folder for a hub, or one for a server."""

from __future__ import annotations

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
    model: str | Path, out: str | Path, *, progress: Progress | None = None, **options: Any
) -> Published:
    """Publish a model, as ``translatekit publish`` does.

    Args:
        model: a model file, or a run's folder; or the address of one.
        out: the folder to write; for a page in a single file, that file.
        progress: told what is being done.
        options: fields of `translatekit_tools.publish.options.PublishOptions`.

    Raises:
        TranslatekitError: the model cannot be published so, or the place cannot be written; what was there stays.
    """
    from translatekit.model_file import find_model, name_of, read_any_info
    from translatekit.options import check_options
    from translatekit.specs import import_target
    from translatekit_tools.publish.options import PublishOptions

    checked = PublishOptions(**check_options(PublishOptions, options, "publish()"))
    checked.check_kind(KINDS)
    path = find_model(model, checked.direction, best=checked.best)
    subject = Model(path=path, info=read_any_info(path), name=name_of(path))
    make = import_target(KINDS[checked.kind], f"--as {checked.kind}")
    published: Published = make(
        subject, Path(out).expanduser(), checked, progress or (lambda text, share: None)
    )
    return published
