"""The options of ``translatekit publish``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from translatekit.config import option
from translatekit.errors import OptionError

_GROUPS = {"page": "Page", "hub": "Hub", "triton": "Triton", "docker": "Docker"}


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """Everything ``translatekit publish`` can be told beside the model and where the result goes.

    An option whose group is called like a kind is of that kind alone.
    """

    kind: Literal["page", "hub", "triton", "docker"] = option(
        "page",
        "What to make: a page that runs the model in the browser, a folder for a hub of models, a Triton model "
        "repository, or a Docker context.",
        "What",
        flags=("--as",),
    )
    direction: str | None = option(
        None, "Which generator of a run's folder, such as BtoA; its main one when not given.", "Model"
    )
    best: bool = option(False, "Use the run's best.safetensors instead of its newest weights.", "Model")
    title: str | None = option(
        None, "What the model is called; the run's folder or the file when not given.", "Card"
    )
    description: str | None = option(
        None, "A sentence or two: what it makes of what, and what it is for.", "Card"
    )
    licence: str | None = option(
        None, "Under which terms others may use the model, such as Apache-2.0 or CC-BY-4.0.", "Card"
    )
    force: bool = option(
        False, "Add to a folder that holds other files, and overwrite those of the same names.", "Output"
    )

    def check_kind(self, kinds: Iterable[str]) -> None:
        """See that no option is given that the kind does not know.

        Args:
            kinds: all that there are.

        Raises:
            OptionError: one is given; names it.
        """
        groups = {_GROUPS[kind]: kind for kind in kinds}
        for field in fields(self):
            owner = groups.get(field.metadata["group"])
            if owner not in (None, self.kind) and getattr(self, field.name) != field.default:
                flag = (field.metadata.get("flags") or (f"--{field.name.replace('_', '-')}",))[-1]
                raise OptionError(f"{flag} is for --as {owner}: leave it out with --as {self.kind}")
