"""What an evaluation measures with: metrics, the colours of label maps, and a network that reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from translatekit.datasets.palette import (
    PALETTE_FILE,
    PaletteClass,
    known_palette,
    learn_palette,
    read_palette,
    stored_palette,
)
from translatekit.datasets.stored import Place
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import to_uint8
from translatekit.inference.predictor import Predictor
from translatekit.metrics import metric_specs
from translatekit.model_file import find_model
from translatekit.model_info import ModelInfo
from translatekit.storage import hash_bytes
from translatekit_tools.bulk.manifest import hash_path
from translatekit_tools.evaluate.choice import ChosenMetrics, choose_metrics
from translatekit_tools.evaluate.images import Images
from translatekit_tools.evaluate.models import open_predictor
from translatekit_tools.evaluate.options import EvaluateOptions

_LABEL_IMAGES = 8  # looked at to tell label maps from photographs


@dataclass
class Tools:
    """What measures: None where it was not asked for or cannot be had.

    Attributes:
        segmented_by: the hash of the segmenter's file; empty where there is none.
    """

    metrics: ChosenMetrics
    palette: list[PaletteClass] | None
    target_is_labels: bool
    segmenter: Predictor | None
    device: torch.device
    segmented_by: str = ""

    @property
    def measured_by(self) -> dict[str, dict[str, str]]:
        """What each figure depends on besides the images: of those of label maps, their colours and who reads them."""
        found = dict(self.metrics.measured_by)
        if self.palette is None:
            return found
        colors = hash_bytes(json.dumps([[*map(int, item["color"])] for item in self.palette]).encode())
        for name in self.metrics.labels:
            found[name] = {**found[name], "colors": colors}
            if self.segmenter is not None:
                for prefix in ("fcn_", "fcn_real_"):
                    found[prefix + name] = {**found[name], "segmenter": self.segmented_by}
        return found


def choose_tools(
    options: EvaluateOptions, images: Images, root: Place | None, info: ModelInfo, notes: list[str]
) -> Tools:
    """What measures these images, by these options."""
    some = [
        (
            name,
            _in_colours(source, images.data.specs[images.source]),
            _in_colours(target, images.data.specs[images.target]),
        )
        for name, source, target, _ in map(images.item, range(min(_LABEL_IMAGES, len(images))))
    ]
    metrics = choose_metrics(
        options, paired=images.paired, images=len(images), channels=some[0][2].shape[2], notes=notes
    )
    palette = None
    if options.palette is not None:
        palette = read_palette(Path(options.palette).expanduser())
    elif root is not None and (root / PALETTE_FILE).is_file():
        palette = read_palette(root / PALETTE_FILE)
    else:
        palette = known_palette(images.data, images.source if options.segmenter else images.target)
    segmenter, segmented_by = None, ""
    if options.segmenter is not None:
        if not images.paired:
            raise OptionError(
                "--segmenter compares outputs with the label maps they were made from: give paired data"
            )
        path = Path(options.segmenter).expanduser()
        segmenter = open_predictor(
            path,
            EvaluateOptions(
                device=options.device, precision=options.precision, batch_size=options.batch_size
            ),
        )
        segmented_by = hash_path(path if path.is_file() else find_model(path))
        palette = palette or stored_palette(info.data)
        palette = palette or learn_palette(item[1] for item in some if item[1].shape[2] == 3)
        if palette is None:
            raise OptionError(
                "--segmenter needs to know the label maps' colours, and the inputs have too many: pass --palette FILE"
            )
    labels = images.paired and palette is not None and some[0][2].shape[2] == 3
    if labels and not (options.palette is not None and segmenter is None):
        labels = learn_palette(item[2] for item in some) is not None  # photographs have no classes
    named = [spec.name for spec in metric_specs("labels") if spec.name in (options.metrics or ())]
    if named and not labels and segmenter is None:
        raise OptionError(
            f"{named[0]} compares label maps, and the targets are none whose colours are known: pass --palette FILE, "
            "or other --metrics"
        )
    cuda = torch.cuda.is_available() and options.device != "cpu"
    return Tools(metrics, palette, labels, segmenter, torch.device("cuda" if cuda else "cpu"), segmented_by)


def _in_colours(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Photographs and label maps as uint8; others have no colours, and keep their channels."""
    return to_uint8(image) if spec.shown else image
