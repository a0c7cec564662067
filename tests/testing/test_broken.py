"""Each contract refuses what breaks it, with a text that says what and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import run_python
from translatekit.plugins import installed
from translatekit.registry import _registry, registry
from translatekit.testing import ContractError, NotApplicableError, Subject, contracts_of

SOURCE = """
import dataclasses
import click
import torch
from torch import nn
from translatekit.hookspecs import hookimpl
from translatekit.image_spec import RGB
from translatekit.interfaces import Deployed
from translatekit.specs import *
from translatekit.training.method import Method

made = 0

class Sound(nn.Module):
    size_multiple = 1
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    def forward(self, x):
        return torch.tanh(self.conv(x))

class Swallows(Sound):
    def __init__(self, in_channels: int, out_channels: int, **others):
        super().__init__(in_channels, out_channels)

class Unannotated(Sound):
    def __init__(self, in_channels: int, out_channels: int, width=8):
        super().__init__(in_channels, out_channels)

class NoDefault(Sound):
    def __init__(self, in_channels: int, out_channels: int, width: int):
        super().__init__(in_channels, out_channels)

class NoMultiple(Sound):
    size_multiple = None

class OtherMultiple(Sound):
    size_multiple = 4

class Colour(Sound):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, 3)

class Square(Sound):
    def forward(self, x):
        return super().forward(x) + torch.zeros(1, 1, x.shape[2], x.shape[2])

class Unbounded(Sound):
    def forward(self, x):
        return 3 * self.conv(x) + 2

class NotANumber(Sound):
    def forward(self, x):
        return super().forward(x / x.abs().max())

class Unused(Sound):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels)
        self.spare = nn.Conv2d(3, 3, 1)

class Untraceable(Sound):
    def forward(self, x):
        return super().forward(x) if float(x.abs().mean()) > 0 else x

class Noisy(Sound):
    def forward(self, x):
        return torch.tanh(self.conv(x) + torch.randn_like(x[:, :1]))

class BatchDependent(Sound):
    def forward(self, x):
        return torch.tanh(self.conv(x - x.mean()))

class Forgetful(Sound):
    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels)
        global made
        made += 1
        self.shift = made / 10
    def forward(self, x):
        return torch.tanh(self.conv(x) + self.shift)

class Sound_D(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 1, 4, stride=4)
    def forward(self, x):
        return self.conv(x)

class Flat(Sound_D):
    def forward(self, x):
        return self.conv(x).mean((1, 2, 3))

class ThreeOnly(Sound_D):
    def __init__(self, in_channels: int):
        super().__init__(3)

class Detached(Sound_D):
    def forward(self, x):
        return self.conv(x.detach())

class Swallowing(Sound_D):
    def __init__(self, in_channels: int, **others):
        super().__init__(in_channels)

class Reversed:
    def discriminator(self, real, fake): return real.mean(), -fake.mean()
    def generator(self, fake): return -fake.mean()
    def penalty(self, discriminator, real, fake): return None

class Caught(Reversed):
    def discriminator(self, real, fake): return -real.mean(), fake.mean()
    def generator(self, fake): return fake.mean()

class BadPenalty(Caught):
    def generator(self, fake): return -fake.mean()
    def penalty(self, discriminator, real, fake): return torch.zeros(())

class PerImage(nn.Module):
    def forward(self, output, target): return (output - target).abs().mean((1, 2, 3))

class Shifted(nn.Module):
    def forward(self, output, target): return (output - target).abs().mean() + 1

class Needy(nn.Module):
    def __init__(self, weight):
        super().__init__()
    def forward(self, output, target): return (output - target).abs().mean()

class Negative(nn.Module):
    def forward(self, output, target): return (output - target).mean() - 1

class Data:
    class_names, specs = (), {"input": RGB, "target": RGB}
    def __init__(self, root, options):
        if not root.exists():
            from translatekit.errors import DataError
            raise DataError(f"there is no {root}: check")
        self.options, self.skipped, self.epoch = options, [], 0
    def __len__(self): return 4
    def set_epoch(self, epoch): self.epoch = epoch
    def image(self, index):
        generator = torch.Generator().manual_seed(1000 * self.epoch + index)
        return torch.rand(3, self.options.crop_size, self.options.crop_size, generator=generator) * 2 - 1
    def __getitem__(self, index):
        return {"input": self.image(index), "target": self.image(index), "name": str(index)}

class Bytes(Data):
    def image(self, index): return (super().image(index) * 127 + 128).byte()

class BigImages(Data):
    def image(self, index): return super().image(index).repeat(1, 2, 2)

class ZeroToTwo(Data):
    def image(self, index): return super().image(index) + 1

class NoTarget(Data):
    def __getitem__(self, index):
        return {"input": self.image(index), "name": str(index)}

class Random(Data):
    def image(self, index): return torch.rand(3, self.options.crop_size, self.options.crop_size)

class Empty(Data):
    def __len__(self): return 0

class AnyFolder(Data):
    def __init__(self, root, options):
        self.options, self.skipped, self.epoch = options, [], 0

class NoFolder(Data):
    def __init__(self, root, options):
        open(root / "index.txt")

class Classes(Data):
    class_names = ("a", "b")

class Elsewhere(Data):
    palettes = {"label": [{"name": "a", "color": [0, 0, 0]}]}

class Colours(Data):
    palettes = {"input": [{"name": "a", "color": [0, 0, 256]}]}

class Method_(Method):
    def __init__(self, options, networks, data):
        super().__init__({"G": networks.generator(in_channels=3, out_channels=3)})
        self.steps = 0
    def step(self, batch):
        loss = self.networks["G"](batch["input"]).mean() * (1 + self.steps)
        self.update(loss, "G")
        return {"G": loss.detach()}
    def deployed(self): return {"G": Deployed(self.unwrapped["G"], "input", "target")}
    def samples(self, batch): return {"output": self.networks["G"](batch["input"])}

class Lazy(Method_):
    def step(self, batch): return {"G": torch.zeros(())}

class Explodes(Method_):
    def step(self, batch): return super().step(batch) | {"D": torch.tensor(float("nan"))}

class Attached(Method_):
    def step(self, batch):
        return {"G": self.networks["G"](batch["input"]).mean()}

class Nothing(Method_):
    def deployed(self): return {}

class Outside(Method_):
    def __init__(self, options, networks, data):
        super().__init__(options, networks, data)
        self.unwrapped["G"] = self.networks["G"] = Sound(3, 3)

class Glaring(Method_):
    def samples(self, batch): return {"output": 255 * batch["input"]}

class Fewer(Method_):
    def samples(self, batch): return {"output": super().samples(batch)["output"][:1]}

class Turning(Method_):
    def step(self, batch):
        loss = self.networks["G"](batch["input"]).mean()
        self.update(loss * (-1) ** self.steps, "G")
        self.steps += 1
        return {"G": loss.detach()}

class Wide(Method_):
    def __init__(self, options, networks, data):
        Method.__init__(self, {"G": networks.generator(in_channels=5, out_channels=3)})

class Remembers(Method_):
    def step(self, batch):
        losses = super().step(batch)
        self.steps += 1
        return losses

class Halting(Sound):
    feature_layers = ("conv.weight",)

class Figure:
    def __call__(self, output, target):
        apart = (output.values - target.values).abs()
        counts = torch.ones_like(apart) if target.valid is None else target.valid.expand_as(apart).float()
        return (apart * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3))

class Careless:
    def __call__(self, output, target): return (output.values - target.values).abs().mean((1, 2, 3))

class Gray(Figure):
    def __call__(self, output, target):
        assert output.values.shape[1] == 1
        return super().__call__(output, target)

class OfTheBatch(Figure):
    def __call__(self, output, target): return super().__call__(output, target).mean().expand(len(output.values))

class Total(Figure):
    def __call__(self, output, target): return super().__call__(output, target).mean()

class Beyond(Figure):
    def __call__(self, output, target): return 10 * super().__call__(output, target) + 2

class Dice(Figure):
    def __call__(self, output, target): return super().__call__(output, target) + torch.rand(len(output.values)) / 100

class FirstOnly(Figure):
    extractor = staticmethod(lambda images: images.values.mean((2, 3)))
    def __call__(self, real, fake): return float((real[0] - fake[0]).abs().mean())

@dataclasses.dataclass
class Options:
    weight: float = 1.0

@click.command()
def mute(): pass

@click.command()
def heavy():
    "Its module imports torch."

def load(path, device, precision):
    open(path)
    return None

def spec(kind, target, name=None, **more):
    return kind(name=(name or target).lower(), target=f"bad_things:{target}", summary="", **more)

@hookimpl
def register_generators():
    for name in ("Sound Swallows Unannotated NoDefault NoMultiple OtherMultiple Colour Square Unbounded NotANumber "
                 "Unused Noisy BatchDependent Forgetful Untraceable Halting").split():
        yield spec(GeneratorSpec, name)

@hookimpl
def register_discriminators():
    for name in ("Sound_D", "Flat", "ThreeOnly", "Detached", "Swallowing"):
        yield spec(DiscriminatorSpec, name)

@hookimpl
def register_losses():
    for name in ("Reversed", "Caught", "BadPenalty"):
        yield spec(LossSpec, name, role="adversarial")
    for name in ("PerImage", "Shifted", "Negative", "Needy"):
        yield spec(LossSpec, name)

@hookimpl
def register_datasets():
    for name in ("Data", "Bytes", "BigImages", "ZeroToTwo", "NoTarget", "Random", "Empty", "NoFolder", "Classes",
                 "Elsewhere", "Colours", "AnyFolder"):
        yield spec(DatasetSpec, name)
    yield spec(DatasetSpec, "AnyFolder", "drawn", folder=False)

@hookimpl
def register_metrics():
    for name in ("Figure", "OfTheBatch", "Total", "Beyond", "Dice", "Careless"):
        yield spec(MetricSpec, name, compares="pairs", better="lower", minimum=0, maximum=2, perfect=0.0)
    yield spec(MetricSpec, "Gray", compares="pairs", better="lower", minimum=0, channels=(1,), perfect=0.0)
    yield spec(MetricSpec, "FirstOnly", compares="sets", better="lower")
    yield spec(MetricSpec, "Figure", "upside_down", compares="pairs", better="higher")
    yield spec(MetricSpec, "Figure", "never_one", compares="pairs", better="lower", perfect=1.0)

@hookimpl
def register_methods():
    for name in ("Method_", "Lazy", "Explodes", "Attached", "Nothing", "Outside", "Glaring", "Remembers",
                 "Fewer", "Turning", "Wide"):
        yield spec(MethodSpec, name, options="bad_things:Options", data="paired",
                   generator="sound", discriminator="patch", dataset="aligned")
    yield spec(MethodSpec, "Method_", "misfit", options="bad_things:Options", data="unpaired",
               generator="sound", discriminator="patch", dataset="aligned", defaults=(("epoch", 3),))

class Quiet:
    key = where = None
    def __init__(self): pass
    def start(self, run): pass
    def scalars(self, step, values): pass
    def image(self, step, name, file): pass
    def finish(self, outcome): pass

class Eager(Quiet):
    key = "made by the constructor"

class Loud(Quiet):
    def finish(self, outcome):
        print("bye")

class Narrow(Quiet):
    def scalars(self, step, values):
        for name in values:
            name.encode("ascii")

class Anew(Quiet):
    def start(self, run):
        self.key = str(run.folder) + str(run.step)

class NeverFails(Quiet):
    def finish(self, outcome):
        {"finished": 0, "stopped": 1}[outcome]

@hookimpl
def register_loggers():
    for name in ("Quiet", "Eager", "Loud", "Narrow", "Anew", "NeverFails"):
        yield spec(LoggerSpec, name)

@hookimpl
def register_commands():
    for name in ("mute", "heavy", "Sound"):
        yield spec(CommandSpec, name, api="bad_things:made")

@hookimpl
def register_backends():
    yield spec(BackendSpec, "load", "undotted", suffixes=("onnx",))
    yield spec(BackendSpec, "load", "unread", suffixes=(".unread",), compiler="bad_things:load")
    yield spec(BackendSpec, "load", "careless", suffixes=(".careless",))
    yield spec(BackendSpec, "load", "absent", suffixes=(".absent",), requires=("no_such_module",))
"""


@pytest.fixture(scope="module", autouse=True)
def bad_things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A distribution of unsound things, found through its entry point."""
    folder: Path = tmp_path_factory.mktemp("bad")
    (folder / "bad_things.py").write_text(SOURCE)
    info = folder / "bad_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-things\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[translatekit]\nbad = bad_things\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))
        installed.cache_clear()
        _registry.cache_clear()
        yield
    sys.modules.pop("bad_things", None)
    installed.cache_clear()
    _registry.cache_clear()


def broken(kind: str, name: str, only: str | None = None) -> dict[str, str]:
    """The contracts that a thing breaks, with what is said of it; of all, or of one."""
    subject = Subject(spec=registry(kind).get(name), size=32, discriminator_options={"width": 4})
    errors = {}
    for contract in contracts_of(kind):
        if only not in (None, contract.name):
            continue
        try:
            contract.run(subject)
        except ContractError as error:
            errors[contract.name] = str(error)
        except NotApplicableError:
            continue
    return errors


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("generator", "sound"),
        ("metric", "figure"),
        ("metric", "gray"),
        ("logger", "quiet"),
        ("discriminator", "sound_d"),
        ("dataset", "data"),
        ("dataset", "drawn"),
    ],
)
def test_the_sound_ones_break_nothing(kind: str, name: str) -> None:
    assert broken(kind, name) == {}


@pytest.mark.parametrize(
    ("kind", "name", "contract", "says"),
    [
        ("generator", "swallows", "options", "takes *others, which would swallow misspelt options"),
        (
            "generator",
            "unannotated",
            "options",
            "option 'width' of generator 'unannotated' has no annotation",
        ),
        ("generator", "nodefault", "options", "option 'width' of generator 'nodefault' has no default"),
        ("generator", "nomultiple", "size_multiple", "has size_multiple None"),
        ("generator", "othermultiple", "size_multiple", "says size_multiple=1, its default network says 4"),
        ("generator", "colour", "output_shape", "to (1, 3, 32, 32) instead of (1, 1, 32, 32)"),
        ("generator", "square", "any_multiple", "RuntimeError: The size of tensor a (33)"),
        ("generator", "unbounded", "output_range", "not in [-1, 1]: end with tanh"),
        ("generator", "notanumber", "output_range", "holds values that are not finite"),
        ("generator", "unused", "gradients", "parameter spare.weight of generator 'unused' gets no gradient"),
        ("generator", "noisy", "evaluation", "another output for the same input in evaluation"),
        ("generator", "batchdependent", "evaluation", "with the other images of its batch"),
        ("generator", "forgetful", "model_file", "another output after it was saved and loaded"),
        ("generator", "untraceable", "export", "cannot be exported to ONNX"),
        ("generator", "halting", "features", "there is no layer 'conv.weight'"),
        ("logger", "eager", "quiet_start", "has the key 'made by the constructor' before it is started"),
        ("logger", "loud", "records", "prints 'bye' to stdout"),
        ("logger", "narrow", "records", "raised UnicodeEncodeError"),
        ("logger", "anew", "resumes", "was to go on with the run of the key"),
        ("logger", "neverfails", "failures", "raised KeyError: 'failed'"),
        ("metric", "ofthebatch", "order", "when its images come in another order and in other batches"),
        ("metric", "total", "figures", "gives () for 6 images, not one value for each"),
        ("metric", "beyond", "figures", "outside of its range 0 to 2"),
        ("metric", "dice", "deterministic", "draws from torch's generator"),
        ("metric", "careless", "valid", "with pixels that do not count: leave out those"),
        ("metric", "firstonly", "order", "when its images come in another order"),
        ("metric", "upside_down", "direction", "says that higher is better, and is 0 for identical images"),
        ("metric", "never_one", "perfect", "is 0 for identical images, and its perfect value is 1.0"),
        ("discriminator", "swallowing", "options", "takes *others, which would swallow misspelt options"),
        ("discriminator", "flat", "logits", "maps 2 images to (2,), not to logits"),
        ("discriminator", "threeonly", "logits", "raised RuntimeError"),
        ("discriminator", "detached", "gradients", "no gradient passes through discriminator 'detached'"),
        ("loss", "reversed", "direction", "punishes a discriminator that is right"),
        ("loss", "caught", "direction", "punishes a generator that deceives"),
        ("loss", "badpenalty", "penalty", "no gradient passes through loss 'badpenalty'"),
        ("loss", "needy", "options", "option 'weight' of loss 'needy' has no annotation"),
        ("loss", "perimage", "scalars", "gives (2,), not a scalar tensor"),
        ("loss", "shifted", "smallest_for_equal_images", "is 1 for equal images, not 0"),
        ("loss", "negative", "smallest_for_equal_images", "is negative"),
        ("dataset", "bytes", "items", "is torch.uint8, not float32"),
        ("dataset", "bigimages", "items", "has the shape (3, 64, 64), not (3, 32, 32)"),
        ("dataset", "zerototwo", "items", "not in [-1, 1]"),
        ("dataset", "notarget", "items", "holds ['input', 'name'], not ['input', 'name', 'target']"),
        ("dataset", "random", "determinism", "differs when it is read again"),
        ("dataset", "empty", "items", "finds no images in"),
        ("dataset", "nofolder", "errors", "raises FileNotFoundError for a missing folder: raise DataError"),
        ("dataset", "anyfolder", "errors", "takes a folder that is not there: raise DataError"),
        ("dataset", "classes", "attributes", "provides paired images and names 2 classes"),
        ("dataset", "elsewhere", "attributes", "has a palette of 'label', and its images are"),
        ("dataset", "colours", "attributes", "the palette of 'input' of dataset 'colours' is not a list"),
        ("method", "lazy", "step", "leaves the network G as it was"),
        ("method", "explodes", "step", "the loss D of method 'explodes' holds values that are not finite"),
        ("method", "attached", "step", "the loss G of method 'attached' is not a detached scalar tensor"),
        ("method", "nothing", "deployed", "deploys no generator"),
        ("method", "outside", "deployed", "was not made by the factory it was given"),
        ("method", "glaring", "samples", "reaches 255: keep it in [-1, 1]"),
        ("method", "remembers", "resume", "put what it remembers into extra_state"),
        ("method", "turning", "resume", "changes the network G otherwise after a resume than without"),
        ("method", "fewer", "samples", "has 1 images for a batch of 2: give one for each"),
        ("method", "wide", "deployed", "in_channels=5, and the images 'input' have 3"),
        ("method", "misfit", "descriptor", "trains on unpaired data, and its dataset gives paired data"),
        ("method", "method_", "light_options", "the field weight of method 'method_' has no help"),
        ("command", "mute", "click_command", "has no help text"),
        ("command", "sound", "click_command", "not a click command"),
        ("command", "heavy", "quick_help", "import them inside the command's function"),
        ("command", "heavy", "python_function", "which cannot be called"),
        ("backend", "undotted", "descriptor", "names the suffix 'onnx': write it with its dot"),
        ("backend", "unread", "descriptor", "has a compiler, and no reader of the headers of its files"),
        ("backend", "careless", "bad_files", "raises FileNotFoundError for missing.careless"),
    ],
)
def test_what_breaks_a_contract_is_refused_in_words(kind: str, name: str, contract: str, says: str) -> None:
    errors = broken(kind, name, only=contract)
    assert says in errors[contract]
    assert "\n" not in errors[contract]


def test_a_backend_whose_package_is_missing_is_not_judged() -> None:
    assert broken("backend", "absent") == {}


def test_contracts_need_no_pytest() -> None:
    code = (
        "import sys, translatekit.testing as t; t.contracts_of('generator'); print('pytest' in sys.modules)"
    )
    assert run_python("-c", code).stdout == "False\n"
