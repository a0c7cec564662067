"""The model card of a hub: what a model is, what it was trained on, how good it is and how it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translatekit.config import RunConfig
from translatekit.errors import DataError
from translatekit.metrics import metric_label
from translatekit.model_info import ModelInfo
from translatekit.options import written
from translatekit_tools.publish.forms import Form
from translatekit_tools.publish.model import Model
from translatekit_tools.publish.options import PublishOptions

TASK = "image-to-image"
# fmt: off
_LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "creativeml-openrail-m", "ecl-2.0",
    "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl",
    "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1",
    "openrail", "openrail++", "osl-3.0", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
})
# fmt: on
"""The words that the Hugging Face Hub knows for licences; others are called ``other`` and named beside."""

_TRAINING = (
    "epochs",
    "epochs_decay",
    "batch_size",
    "accumulate",
    "lr",
    "load_size",
    "crop_size",
    "flip",
    "generator",
    "discriminator",
    "norm_inference",
    "ema",
    "seed",
)
"""The options of a training that say what was trained; none of them is a place on somebody's machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Figures, and how they came about.

    Attributes:
        figures: by metric: a value, and the bounds of its confidence interval of 95 % where they are known.
        data: what was measured on, as a hub calls it.
        protocol: how, in a sentence.
        unit: of the images' values; empty where they have levels.
    """

    figures: Mapping[str, tuple[float, float | None, float | None]]
    data: str
    protocol: str
    unit: str = ""


def measurement_of(info: ModelInfo) -> Measurement | None:
    """The figures that a model file carries: those of the last validation of its training."""
    if not info.metrics:
        return None
    figures = {name: (value, None, None) for name, value in info.metrics.items()}
    protocol = (
        f"Measured by the training itself at step {info.step:,}, on its validation images. Whoever chose the model by "
        "these figures, or stopped the training by them, has seen these images; no confidence interval is known."
    )
    return Measurement(
        figures=figures,
        data=str(info.data.get("name") or "unknown"),
        protocol=protocol,
        unit=info.output.unit,
    )


def read_measurement(file: Path) -> Measurement:
    """What ``translatekit evaluate --json`` printed, of its first model.

    Raises:
        DataError: the file cannot be read, or is something else.
    """
    try:
        found = json.loads(file.read_bytes())
        first = found["models"][0]
        figures = {
            str(name): (float(each["value"]), _number(each["low"]), _number(each["high"]))
            for name, each in first["metrics"].items()
        }
        figures = {name: each for name, each in figures.items() if math.isfinite(each[0])}
        images, data, split = int(found["images"]), str(found["data"]), str(found["split"])
        notes, step, unit = (
            [str(note) for note in found["notes"]],
            int(first["step"]),
            str(found.get("unit", "")),
        )
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): check the path") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise DataError(
            f"{file} is not what translatekit evaluate --json prints: write that into a file"
        ) from None
    protocol = (
        f"Measured by `translatekit evaluate` on the {images} images of the split `{_code(split)}` of "
        f"{_text(data)}, with the model as of step {step:,}. Brackets are confidence intervals of 95 % by bootstrap "
        "over the images."
    )
    return Measurement(
        figures=figures,
        data=f"{data} ({split})",
        protocol=" ".join([protocol, *map(_text, notes)]),
        unit=unit,
    )


def write_card(
    model: Model,
    forms: Sequence[Form],
    pictures: Sequence[tuple[str, str]],
    measured: Measurement | None,
    options: PublishOptions,
    address: str,
) -> str:
    """The text of ``README.md``.

    Args:
        model: what is published.
        forms: its files, the main one first.
        pictures: names of files below the folder, and what each shows.
        measured: its figures; None where there are none.
        options: title, description and licence are looked at.
        address: where others find it, such as ``hf://user/name``.
    """
    info, title = model.info, options.title or model.name
    parts = [
        _metadata(model, forms, measured, options, title),
        f"# {_text(title)}",
        _text(options.description or _what(info)),
        _facts(info, forms),
        *_pictures(pictures),
        *_usage(model, forms, address),
        *_training(model),
        *_figures(measured),
        *_unknown(model, measured, options),
    ]
    return "\n\n".join(parts) + "\n"


def licence_id(licence: str | None) -> tuple[str, str | None]:
    """What a hub calls a licence, and its name where the hub has no word for it."""
    if licence is None:
        return "unknown", None
    word = licence.strip().lower()
    return (word, None) if word in _LICENCES else ("other", licence.strip())


def _metadata(
    model: Model, forms: Sequence[Form], measured: Measurement | None, options: PublishOptions, title: str
) -> str:
    """The YAML at the top. Each value is JSON, which is YAML, so that no text can break out of it."""
    info = model.info
    word, name = licence_id(options.licence)
    backends = [str(form.info.compiled["backend"]) for form in forms if form.info.compiled.get("backend")]
    tags = [TASK, "translatekit", info.method, info.generator, *backends]
    fields: dict[str, Any] = {"license": word}
    if name is not None:
        fields["license_name"] = name
    fields |= {"library_name": "translatekit", "pipeline_tag": TASK, "tags": list(dict.fromkeys(tags))}
    if measured is not None:
        fields["metrics"] = list(measured.figures)
        results = {
            "task": {"type": TASK, "name": "Image-to-image translation"},
            "dataset": {"type": measured.data, "name": measured.data},
            "metrics": [
                {"type": each, "name": metric_label(each, measured.unit), "value": value}
                for each, (value, _, _) in measured.figures.items()
            ],
        }
        fields["model-index"] = [{"name": title, "results": [results]}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _what(info: ModelInfo) -> str:
    data = info.data.get("name")
    trained = f", trained on {data}" if data else ""
    return f"A {info.method} model ({info.direction}) that makes {info.output} of {info.input}{trained}."


def _facts(info: ModelInfo, forms: Sequence[Form]) -> str:
    options = ", ".join(f"{name}={written(value)}" for name, value in info.generator_options.items())
    rows = [
        ("method", info.method),
        (
            "generator",
            f"`{_code(info.generator)}` ({_text(options)})" if options else f"`{_code(info.generator)}`",
        ),
        ("direction", info.direction),
        ("takes", str(info.input)),
        ("gives", str(info.output)),
        ("passes", f"{info.bridge.steps} for an image, or fewer by --passes" if info.bridge else ""),
        ("trained at", f"{info.trained_size} x {info.trained_size} pixels"),
        ("sizes", _sizes(info)),
        ("made by", ", ".join(f"{name} {version}" for name, version in sorted(info.versions.items()))),
    ]
    table = _table(("", ""), [(name, _cell(value)) for name, value in rows if value])
    files = [
        (f"`{_code(form.path.name)}`", _cell(_form(form)), f"{form.bytes / 1e6:.1f} MB") for form in forms
    ]
    return f"{table}\n\n{_table(('file', 'what it is', 'size'), files)}"


def _sizes(info: ModelInfo) -> str:
    built_for = _built_for(info)
    if built_for:
        return f"{built_for} pixels alone"
    if info.size_multiple == 1:
        return "any"
    return f"any; sides are padded to multiples of {info.size_multiple} pixels and cut back"


def _built_for(info: ModelInfo) -> str:
    """The sizes that a compiled file takes, width x height; empty where it takes any."""
    shapes = info.compiled.get("shapes", "any")
    if shapes == "any":
        return ""
    return ", ".join(map(str, shapes)) if isinstance(shapes, list) else str(shapes)


def _form(form: Form) -> str:
    compiled = form.info.compiled
    if not compiled:
        return f"weights for PyTorch, {form.info.direction}"
    parity = compiled.get("parity", {})
    words = f"compiled for {compiled.get('backend', 'a runtime')} in {compiled.get('precision', 'fp32')}"
    built_for = _built_for(form.info)
    words += f", images of {built_for}" if built_for else ""
    psnr = parity.get("psnr")
    if isinstance(psnr, int | float):
        words += f"; PSNR {psnr:.1f} dB against {parity.get('reference', 'the trained model')}"
        words += f" on {parity.get('images', 'some')} images"
    return words


def _pictures(pictures: Sequence[tuple[str, str]]) -> list[str]:
    if not pictures:
        return []
    return ["## Samples", *(f"![{_text(shows)}]({name})\n\n*{_text(shows)}*" for name, shows in pictures)]


def _usage(model: Model, forms: Sequence[Form], address: str) -> list[str]:
    compiled = [form.path.name for form in forms if form.info.compiled]
    spec = model.info.whole.input
    photographs = spec.levels and spec.count in (1, 3)
    folder, file = ("photos", "photo.png") if photographs else ("images", "image.tif")
    lines = [
        "## How to use it",
        "With translatekit installed, its extra `hf`, and what runs the model: the extra `train` for PyTorch, `onnx` "
        "or `openvino` for a compiled file.",
        f"```\ntranslatekit run {folder}/ --model {address} -o translated/\n```",
        f'```python\nimport translatekit\n\nmodel = translatekit.open("{address}")\n'
        f'output = model.translate("{file}")  # an array of shape (height, width, channels)\n```',
    ]
    if compiled and len(forms) > len(compiled):
        lines.append(f"A compiled file is named behind the address: `{address}/{compiled[0]}`.")
    if model.others:
        directions = ", ".join(f"`{_code(form.info.direction)}`" for form in forms if not form.info.compiled)
        lines.append(f"It has several directions: {directions}. `--direction` chooses one.")
    return lines


def _training(model: Model) -> list[str]:
    info = model.info
    data = info.data
    words = "What the model was trained on is not known to its file."
    if data.get("name") or info.step:
        count = data.get("images")
        images = f"{count:,} images" if isinstance(count, int) else "an unknown number of images"
        words = (
            f"The model was trained on {_text(str(data.get('name') or 'data of an unknown name'))}, {images}"
        )
        words += f" laid out as `{_code(str(data['dataset']))}`" if data.get("dataset") else ""
        words += f", for {info.step:,} steps ({info.epoch:,} epochs)."
    lines = ["## Training", words]
    config = RunConfig.of_model(model.path)
    if config is not None:
        rows = [(f"`{name}`", getattr(config.options, name)) for name in _TRAINING]
        rows += [
            (f"`{name}`", value) for name, value in vars(config.method_options).items() if _is_plain(value)
        ]
        lines.append(
            _table(
                ("option", "value"),
                [(name, _cell(str(written(value)))) for name, value in rows if value is not None],
            )
        )
    return lines


def _figures(measured: Measurement | None) -> list[str]:
    if measured is None:
        return []
    rows = [
        (_cell(metric_label(name, measured.unit)), _interval(*figure), _better(name))
        for name, figure in measured.figures.items()
    ]
    return ["## Figures", measured.protocol, _table(("metric", "value", "better"), rows)]


def _unknown(model: Model, measured: Measurement | None, options: PublishOptions) -> list[str]:
    """What a reader may ask and nobody has said."""
    says = []
    if options.licence is None:
        says.append("The licence of the model: ask who published it.")
    says.append("Who made the training images, and under which terms they may be used.")
    if measured is None:
        says.append("How good it is: no figures were measured.")
    says.append(
        "How it does on images unlike those that it was trained on. It makes an image of whatever it is given, and "
        "invents what it cannot know: do not measure or decide anything by what it shows."
    )
    return ["## What is not known", "\n".join(f"- {each}" for each in says)]


def _better(name: str) -> str:
    from translatekit.metrics import better

    return better(name)


def _interval(value: float, low: float | None, high: float | None) -> str:
    figure = f"{value:.4g}"
    return figure if low is None or high is None else f"{figure} [{low:.4g}, {high:.4g}]"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and "/" not in value and "\\" not in value
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text as Markdown shows it, on one line: nothing of it is markup."""
    plain = " ".join(text.split())
    for mark in "\\`*_{}[]<>#|":
        plain = plain.replace(mark, f"\\{mark}")
    return plain


def _cell(text: str) -> str:
    return text if text.startswith("`") else _text(text)


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "/").split())
