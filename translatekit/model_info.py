"""What a model says of itself: the header of every model file, whatever its format.

Each field is checked where it is read, so that nothing behind need doubt it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from translatekit.bridge import Bridge
from translatekit.errors import ModelFileError
from translatekit.image_spec import RGB, ImageSpec, specs_of_8_bits
from translatekit.types import Color, NormInference

MAX_SIDE = 2**14
"""Pixels a side that a header may name, of a network's images or of what they must be a multiple of."""

FORMAT = 2
"""Of the header that this version writes."""

_MAX_CHANNELS = 2**16
_MAX_STEPS = 2**53  # beyond, JSON's numbers are not exact everywhere
_MAX_TEXT = 1000  # characters
_MAX_ITEMS = 2**16
_MAX_DEPTH = 16  # of lists and objects in each other
_SIZES = re.compile(r"any|\d{1,5}x\d{1,5}( to \d{1,5}x\d{1,5})?")  # of images that a compiled file takes
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # as PyPI has them


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself.

    Attributes:
        method: that trained it.
        generator, generator_options: the architecture's name and the keyword arguments it was made with.
        source: what it maps from.
        input, output: the images that a `Translator` takes and gives; the first says nothing where they are made from
            noise.
        size: of the images it is made for, in pixels a side: it was trained at it, where `trained_size` is no other.
        size_multiple: each side of an input must be a multiple of this, in pixels.
        norm_inference: batch normalization by ``running`` statistics, or by each image's own (``per_image``).
        direction: the name of this generator among those its method deploys, such as ``AtoB``.
        classes: names by label, where it was trained on labels.
        data: where and how it was trained: dataset, folder's name, number of images.
        metrics: on the validation images, when it was saved.
        step, epoch: of training, when it was saved.
        package: the distribution to install that offers the generator; empty where an older version wrote the file.
        versions: of translatekit, torch and the packages that made it, by name.
        distilled: of a small model that learned from a large one: of which, how much faster it is, how good.
        bridge: of a model that takes several passes for one image; `input` and `output` are then those of one pass, and
            `whole` is the header of all of them. None for any other.
        compiled: of a compiled file: backend, precision, dtype of its ends, shapes, versions and the parity with the
            model in fp32.
        format: of this header, as this version writes it.
    """

    method: str
    generator: str
    generator_options: dict[str, Any] = field(default_factory=dict)
    source: Literal["image", "latent"] = "image"
    input: ImageSpec = RGB
    output: ImageSpec = RGB
    size: int = 256
    size_multiple: int = 1
    norm_inference: NormInference = "running"
    direction: str = "AtoB"
    classes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    package: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    distilled: dict[str, Any] = field(default_factory=dict)
    bridge: Bridge | None = None
    compiled: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def trained_size(self) -> int:
        """Pixels a side of the images it was trained on, which a distilled model is timed and used at more of."""
        return int(self.distilled.get("trained_size", self.size))

    @property
    def in_channels(self) -> int:
        """Channels that the network takes, or numbers of noise."""
        if self.source == "latent":
            return int(self.generator_options.get("latent_size", 0))
        return self.input.network_channels

    @property
    def out_channels(self) -> int:
        """Channels that the network gives."""
        return self.output.network_channels

    @property
    def whole(self) -> ModelInfo:
        """The header of the model as it is used: with the images at both ends of its bridge, where it has one."""
        if self.bridge is None:
            return self
        return dataclasses.replace(self, input=self.bridge.input, output=self.bridge.output)

    def to_fields(self) -> dict[str, Any]:
        """The header as JSON has it."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        fields |= {"input": self.input.to_fields(), "output": self.output.to_fields()}
        if self.bridge is None:
            del fields["bridge"]
        else:
            fields["bridge"] = self.bridge.to_fields()
        if self.source == "latent":
            del fields["input"]
        else:
            fields["in_channels"] = self.in_channels
        return {**fields, "out_channels": self.out_channels}

    def to_json(self) -> str:
        """The header's text."""
        return json.dumps(self.to_fields(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, origin: object) -> ModelInfo:
        """Parse a header, and check each of its fields.

        Args:
            text: JSON.
            origin: where it comes from, for errors to name.

        Raises:
            ModelFileError: it was written by a newer translatekit, or is not a header.
        """
        try:
            return cls.from_fields(parse_object(text), origin)
        except (ValueError, RecursionError) as error:
            raise not_understood(origin, error) from None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], origin: object) -> ModelInfo:
        """Check the fields of a header, as JSON gave them.

        Args:
            fields: by name.
            origin: where they come from, for errors to name.

        Raises:
            ModelFileError: it was written by a newer translatekit, or a field is not what it must be.
        """
        written = fields.get("format", 0)
        if isinstance(written, int | float) and written > FORMAT:
            versions = fields.get("versions")
            version = versions.get("translatekit") if isinstance(versions, dict) else None
            raise ModelFileError(
                f"{origin} was written by a newer translatekit ({version if _is_version(version) else 'unknown'}): "
                "run pip install -U translatekit"
            )
        known = {item.name: item for item in dataclasses.fields(cls)}
        required = [
            name
            for name, item in known.items()
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        ]
        first = fields.get("format", 1) == 1
        names = [*known, "in_channels", "out_channels"]
        if first:
            names = [name for name in [*names, "color"] if name not in ("input", "output")]
        try:
            checked = check_fields(fields, names, required)
            specs = _specs_of_format_1(checked) if first else _specs(checked)
            _check_specs(specs, checked)
            bridge = _bridge(checked, specs)
        except ValueError as error:
            raise not_understood(origin, error) from None
        kept = {name: value for name, value in checked.items() if name in known} | {"bridge": bridge}
        return cls(**{**kept, **specs, "classes": tuple(checked.get("classes", ())), "format": FORMAT})


def not_understood(origin: object, error: Exception) -> ModelFileError:
    """The error for a header that says what it may not."""
    return ModelFileError(
        f"the header of {origin} cannot be understood ({error}): train or import the model again"
    )


def _is_version(text: object) -> bool:
    return isinstance(text, str) and len(text) < 40 and text.isprintable()


def same_direction(info: ModelInfo, direction: str) -> bool:
    """Whether a model translates in the direction that a user typed, in letters of whatever case."""
    return info.direction.lower() == direction.lower()


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object in which no key occurs twice.

    Raises:
        ValueError: it is none; the text says why.
    """
    value = json.loads(text, object_pairs_hook=_unique)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def check_fields(fields: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> dict[str, Any]:
    """The fields of a header, each of the type and in the range that it must have.

    Metrics that are no numbers are left out: they say nothing.

    Args:
        fields: as JSON gave them.
        known, required: names.

    Raises:
        ValueError: the first thing that is wrong, in words that follow "the header cannot be understood".
    """
    unknown = sorted(fields.keys() - set(known))
    if unknown:
        raise ValueError(f"it has the unknown {_listed(unknown)}")
    missing = [name for name in required if name not in fields]
    if missing:
        raise ValueError(f"it lacks {_listed(missing)}")
    checked = dict(fields)
    for name, value in fields.items():
        rule = _RULES.get(name)
        if rule is not None and not rule.holds(value):
            raise ValueError(f"its {name} must be {rule.words}, got {brief(value)}")
    metrics = checked.get("metrics", {})
    checked["metrics"] = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    _check_together(checked)
    return checked


def brief(value: object) -> str:
    """A value in a few characters, none of them a control character."""
    return _BRIEF.repr(value)


def _check_together(fields: Mapping[str, Any]) -> None:
    """What fields say of each other.

    Raises:
        ValueError: they contradict.
    """
    latent = _is_latent(fields)
    options = fields.get("generator_options", {})
    for name, option in (("in_channels", "latent_size" if latent else "in_channels"), ("out_channels",) * 2):
        if option in options and options[option] != fields.get(name, options[option]):
            raise ValueError(
                f"its {name} is {brief(fields[name])}, but its generator was made with "
                f"{option}={brief(options[option])}"
            )


def _is_latent(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("source", "image") == "latent")


def _specs(fields: Mapping[str, Any]) -> dict[str, ImageSpec]:
    """The images that a header names.

    Raises:
        ValueError: it contradicts itself.
    """
    specs = {"input": RGB, "output": RGB}
    for name in specs:
        try:
            specs[name] = ImageSpec.from_fields(fields.get(name, {}))
        except ValueError as error:
            raise ValueError(f"its {name} is no kind of images, since {error}") from None
    return specs


def _check_specs(specs: Mapping[str, ImageSpec], fields: Mapping[str, Any]) -> None:
    """Hold the images of a header against each other and against its network.

    Raises:
        ValueError: they contradict.
    """
    options = fields.get("generator_options", {})
    ends = ("input", "in_channels"), ("output", "out_channels")
    for name, channels in ends[_is_latent(fields) :]:
        has = specs[name].network_channels
        for said in (fields.get(channels, has), options.get(channels, has)):
            if said != has:
                raise ValueError(
                    f"its {channels} is {brief(said)}, but its {name}, {specs[name]!s:.200}, has {has} for the network"
                )
    into, out = specs["input"], specs["output"]
    if into.codec == "lab" and into.meaning != "gray":
        raise ValueError("its input is coded lab, which is a code of gray there")
    if out.codec == "lab" and (into.codec != "lab" or out.meaning != "rgb"):
        raise ValueError(
            "its output is coded lab, which takes an input of gray that is coded lab, and gives RGB"
        )
    if out.meaning == "labels" and out.count > 1:
        raise ValueError("its output has the edges of instances, which no network gives")


def _bridge(fields: Mapping[str, Any], specs: Mapping[str, ImageSpec]) -> Bridge | None:
    """The bridge that a header names, if it names one.

    Raises:
        ValueError: it is none, or of other images than a pass takes and gives.
    """
    if "bridge" not in fields:
        return None
    try:
        bridge = Bridge.from_fields(fields["bridge"])
    except ValueError as error:
        raise ValueError(f"its bridge is none, since {error}") from None
    for name, spec in (("input", bridge.pass_input), ("output", bridge.pass_output)):
        if specs[name] != spec:
            raise ValueError(
                f"its {name}, {specs[name]!s:.200}, is not that of a pass of its bridge, {spec!s:.200}"
            )
    return bridge


def _specs_of_format_1(fields: Mapping[str, Any]) -> dict[str, ImageSpec]:
    """The images of a header that was written before it named them: levels of 8 bits.

    Raises:
        ValueError: it contradicts itself.
    """
    channels = fields.get("in_channels", 3), fields.get("out_channels", 3)
    color = fields.get("color", "rgb")
    if _is_latent(fields):
        color, channels = "rgb", (3, channels[1])
    if color == "lab" and channels != (1, 2):
        raise ValueError(
            f"its color is 'lab', which has 1 channel in and 2 out, but it has {channels[0]} and {channels[1]}"
        )
    return dict(zip(("input", "output"), specs_of_8_bits(color, *channels), strict=True))


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a value must be, and that in words."""

    words: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int) -> _Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return _Rule(f"a whole number from {low} to {high}", holds)


def _text(minimum: int = 0) -> _Rule:
    return _Rule(
        f"a text of {'at most' if not minimum else f'{minimum} to'} {_MAX_TEXT} characters",
        lambda value: isinstance(value, str) and minimum <= len(value) <= _MAX_TEXT,
    )


def _one_of(literal: Any) -> _Rule:
    values = get_args(literal) or literal
    return _Rule(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def _object(words: str, **rules: _Rule) -> _Rule:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(rule.holds(value[name]) for name, rule in rules.items() if name in value)
            and _is_finite(value)
        )

    return _Rule(words, holds)


def _all(words: str, kind: type[dict[Any, Any]] | type[list[Any]], rule: _Rule) -> _Rule:
    def holds(value: Any) -> bool:
        if not isinstance(value, kind) or len(value) > _MAX_ITEMS:
            return False
        return all(rule.holds(item) for item in (value.values() if isinstance(value, dict) else value))

    return _Rule(words, holds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_metric(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def _is_finite(value: Any, depth: int = 0) -> bool:
    """Whether JSON's values, in lists and objects that are not too deep, hold no NaN, no infinity and no giant."""
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, dict | list):
        return all(
            _is_finite(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)
        )
    return not isinstance(value, int | float) or abs(value) < (
        math.inf if isinstance(value, float) else 2**64
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{brief(max(names, key=names.count))} occurs twice in it")
    return values


def _listed(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{'field' if len(names) == 1 else 'fields'} {', '.join(brief(name) for name in names[:3])}{more}"


def _brief() -> reprlib.Repr:
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = shortened.maxlong = 60
    shortened.maxlevel = 2
    return shortened


_BRIEF = _brief()
_TEXT, _SIDE, _CHANNELS, _STEPS = (
    _text(),
    _whole(1, MAX_SIDE),
    _whole(1, _MAX_CHANNELS),
    _whole(0, _MAX_STEPS),
)
_TEXTS = _all("a list of texts", list, _TEXT)
_SHAPES = _Rule(
    "any, or sizes such as 256x256",
    lambda value: (
        (isinstance(value, str) and _SIZES.fullmatch(value) is not None)
        or (
            isinstance(value, list)
            and all(isinstance(item, str) and _SIZES.fullmatch(item) for item in value)
        )
    ),
)
_OBJECT = _object("an object of finite values")
_RULES: dict[str, _Rule] = {
    "method": _text(1),
    "generator": _Rule(
        "a name of letters, digits, _ and -",
        lambda value: _TEXT.holds(value) and re.fullmatch(r"\w[\w.-]*", value) is not None,
    ),
    "generator_options": _OBJECT,
    "source": _one_of(("image", "latent")),
    "input": _OBJECT,
    "output": _OBJECT,
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "size": _SIDE,
    "size_multiple": _SIDE,
    "norm_inference": _one_of(NormInference),
    "direction": _text(1),
    "color": _one_of(Color),
    "classes": _TEXTS,
    "data": _object(
        "an object of finite values, in which dataset, name, input and target are texts, "
        "images a number and palette a list",
        dataset=_TEXT,
        name=_TEXT,
        checkpoint=_TEXT,
        input=_TEXT,
        target=_TEXT,
        images=_STEPS,
        palette=_Rule("", lambda value: isinstance(value, list)),
    ),
    "metrics": _all("an object of numbers", dict, _Rule("", _is_metric)),
    "step": _STEPS,
    "epoch": _STEPS,
    "versions": _all("an object of texts", dict, _TEXT),
    "package": _Rule(
        "the name of a Python package",
        lambda value: isinstance(value, str) and (not value or _DISTRIBUTION.fullmatch(value) is not None),
    ),
    "distilled": _object(
        "an object of finite values, in which teacher and summary are texts and trained_size a side",
        teacher=_TEXT,
        summary=_TEXT,
        trained_size=_SIDE,
    ),
    "bridge": _OBJECT,
    "compiled": _object(
        "an object of finite values, in which backend and precision are texts, dtype is uint8 or float32, shapes sizes "
        "and parity an object",
        backend=_TEXT,
        precision=_TEXT,
        dtype=_one_of(("uint8", "float32")),
        shapes=_SHAPES,
        parity=_OBJECT,
        versions=_OBJECT,
        source_hash=_TEXT,
    ),
    "format": _whole(1, 2**31),
}
