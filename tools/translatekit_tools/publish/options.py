"""The options of ``translatekit publish``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from translatekit.config import option
from translatekit.errors import OptionError
from translatekit.options import Choices
from translatekit.registry import registry
from translatekit_tools.backends.options import Precision

_COMPILED = ("hub", "triton", "docker")
_NAMED = ("page", "hub", "docker")
_DESCRIBED = ("page", "hub")
_GROUPS = {"page": "Page", "hub": "Hub", "triton": "Triton", "docker": "Docker"}


def _compilers() -> list[str]:
    """The backends that models are compiled for."""
    return [entry.spec.name for entry in registry("backend").entries() if entry.spec.compiler is not None]


@dataclass(frozen=True, kw_only=True)
class PublishOptions:
    """Everything ``translatekit publish`` can be told beside the model and where the result goes.

    An option whose group is called like a kind is of that kind alone; ``kinds`` names those of one that several have.
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
        None, "What the model is called; the run's folder or the file when not given.", "Card", kinds=_NAMED
    )
    description: str | None = option(
        None, "A sentence or two: what it makes of what, and what it is for.", "Card", kinds=_DESCRIBED
    )
    licence: str | None = option(
        None,
        "Under which terms others may use the model, such as Apache-2.0 or CC-BY-4.0.",
        "Card",
        kinds=_DESCRIBED,
    )
    runtimes: tuple[Annotated[str, Choices(_compilers)], ...] | None = option(
        None,
        "A runtime to compile for. A hub gets the compiled models beside the trained one, as many as are named; a "
        "server runs one, onnxruntime when not given.",
        "Runtime",
        flags=("--for",),
        metavar="NAME",
        kinds=_COMPILED,
    )
    precision: Precision | None = option(
        None,
        "What convolutions compute in, where the model is compiled; fp32 when not given.",
        "Runtime",
        kinds=_COMPILED,
    )
    samples: str | None = option(
        None,
        "A folder of images to show in the card with their translations; the run's newest samples when not given; "
        "off for no pictures.",
        "Hub",
        metavar="DIR",
    )
    figures: str | None = option(
        None,
        "What translatekit evaluate --json printed of this model, for the card.",
        "Hub",
        metavar="FILE",
    )
    push: str | None = option(
        None,
        "Upload the folder to this repository, which is made where there is none.",
        "Hub",
        metavar="hf://user/name",
    )
    private: bool = option(False, "Let a repository that is made be seen by its owner alone.", "Hub")
    max_batch: int = option(8, "Images that Triton translates at once.", "Triton", minimum=1, maximum=1024)
    port: int = option(8090, "The port that the container listens at.", "Docker", minimum=1, maximum=65535)
    single: bool = option(False, "One HTML file, which opens from the disk too, instead of a folder.", "Page")
    mode: Literal["auto", "paint", "photo"] = option(
        "auto",
        "Start with the canvas or with photographs; auto: the canvas for models of label maps.",
        "Page",
    )
    palette: str | None = option(
        None,
        "A palette.json with the names and colours to draw with; the model's own when not given.",
        "Page",
        metavar="FILE",
    )
    examples: str | None = option(
        None,
        "A folder of pictures to start from, which are published too; at most 12 are.",
        "Page",
        metavar="DIR",
    )
    weights: Literal["fp32", "fp16"] = option(
        "fp32",
        "Numbers that the weights are kept in; fp16 is half as much to load, and is computed in fp32 all the same.",
        "Page",
    )
    webgpu: bool | None = option(
        None,
        "Publish the runtime's build for WebGPU too, 6.6 MB that only visitors with a GPU load; in a folder by "
        "default, in a single file not.",
        "Page",
    )
    web_runtime: str | None = option(
        None,
        "The npm package onnxruntime-web, as a folder or the archive of npm pack; fetched from the npm registry when "
        "not given.",
        "Page",
        metavar="PATH",
    )
    check: Literal["auto", "yes", "no"] = option(
        "auto",
        "Compare the model in a browser with Python's before the page is written; auto: if there is one.",
        "Page",
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
        groups = {_GROUPS[kind]: (kind,) for kind in kinds}
        for field in fields(self):
            owners = field.metadata.get("kinds") or groups.get(field.metadata["group"], (self.kind,))
            if self.kind not in owners and getattr(self, field.name) != field.default:
                flag = (field.metadata.get("flags") or (f"--{field.name.replace('_', '-')}",))[-1]
                raise OptionError(
                    f"{flag} is for --as {' or '.join(owners)}: leave it out with --as {self.kind}"
                )

    def runtime(self) -> str:
        """The one runtime of what runs on one.

        Raises:
            OptionError: several are named.
        """
        names = self.runtimes or ("onnxruntime",)
        if len(names) > 1:
            raise OptionError(f"--as {self.kind} is for one runtime, and --for names {' and '.join(names)}")
        return names[0]
