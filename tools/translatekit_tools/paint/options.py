"""The options of the painting page and its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from translatekit.bridge import MAX_STEPS
from translatekit.config import option
from translatekit.options import Pattern
from translatekit.precision import Precision


@dataclass(frozen=True, kw_only=True)
class PaintOptions:
    """Everything ``translatekit paint`` can be told beside its model."""

    direction: str | None = option(
        None, "Which generator of a run's folder, such as BtoA; its main one when not given.", "Model"
    )
    best: bool = option(False, "Use the run's best.safetensors instead of its newest weights.", "Model")
    passes: int | None = option(
        None,
        "Passes for an image, of a model that takes several; as many as it was trained for when not given.",
        "Model",
        minimum=1,
        maximum=MAX_STEPS,
    )

    palette: str | None = option(
        None,
        "A palette.json with the names and colours to draw with; the model's own when not given.",
        "Page",
        metavar="FILE",
    )
    mode: Literal["auto", "paint", "photo"] = option(
        "auto",
        "Start with the canvas or with photographs; auto: the canvas for models of label maps.",
        "Page",
    )
    open: bool = option(False, "Open the page in the browser.", "Page")

    host: str = option(
        "127.0.0.1",
        "The address to listen at. Any but this machine's own needs the token that is printed with it: see --token.",
        "Server",
    )
    port: int = option(
        8090, "The port to listen at; 0 for any that is free.", "Server", minimum=0, maximum=65535
    )
    token: Annotated[
        str | None, Pattern(r"off|[A-Za-z0-9_~.-]{8,200}", "off, or 8 to 200 letters, digits and _~.-")
    ] = option(
        None,
        "What a program must send as Authorization: Bearer TOKEN. A new one for an address that others reach when not "
        "given; off for no such need, where something else guards the server.",
        "Server",
    )
    max_pixels: int = option(
        4_194_304, "Larger images are refused.", "Server", minimum=1, maximum=178_956_970
    )
    max_megabytes: int = option(20, "Larger uploads are refused.", "Server", minimum=1, maximum=1024)
    max_waiting: int = option(
        64,
        "Requests that may be in progress at once; more are told to come again.",
        "Server",
        minimum=1,
        maximum=100_000,
    )

    batch_size: int = option(
        8, "Requests of one shape to translate at once.", "Hardware", minimum=1, maximum=1024
    )
    device: str = option("auto", "cpu, cuda, cuda:1, mps or auto.", "Hardware")
    precision: Precision = option(
        "auto",
        "Numbers to compute with; auto is what a compiled file was made for, and else fp32.",
        "Hardware",
    )
