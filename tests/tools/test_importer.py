"""Import of the reference implementation's checkpoints, and what is refused."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from translatekit_tools.cli.import_checkpoint import import_checkpoint as command
from translatekit_tools.importer import (
    convert_discriminator,
    convert_generator,
    import_checkpoint,
    read_checkpoint,
)

from translatekit import load_network
from translatekit.errors import ModelFileError, OptionError
from translatekit.model_file import read_info
from translatekit.networks import make_discriminator, make_generator

GENERATORS = ["unet_128_batch_ngf4", "resnet_6blocks_batch_dropout_ngf8", "resnet_9blocks_instance_ngf8"]


def names_and_shapes(path: Path) -> dict[str, Tensor]:
    """A state dict of zeros, as a ``.keys.tsv`` lists it."""
    state = {}
    for line in path.read_text().splitlines():
        name, shape = line.split("\t")
        kind = torch.int64 if name.endswith("num_batches_tracked") else torch.float32
        state[name] = torch.zeros([int(side) for side in re.findall(r"\d+", shape)], dtype=kind)
    return state


@pytest.mark.parametrize("norm_inference", ["running", "per_image"])
@pytest.mark.parametrize("name", GENERATORS)
def test_outputs_equal_the_reference(data_dir, tmp_path, name, norm_inference):
    reference = data_dir / "checkpoints/reference"
    out = tmp_path / "model.safetensors"
    assert import_checkpoint(reference / f"{name}_net_G.pth", out, norm_inference=norm_inference) == out
    network, info = load_network(out)
    expected = np.load(reference / f"{name}_expected.npz")
    with torch.inference_mode():
        output = network(torch.from_numpy(expected["x"])).numpy()
    key = "eval" if norm_inference == "running" else "per_image"
    np.testing.assert_allclose(output, expected[key], rtol=0, atol=1e-5)
    assert info.norm_inference == norm_inference


RESNET = {
    "in_channels": 3,
    "out_channels": 3,
    "blocks": 9,
    "width": 64,
    "norm": "instance",
    "dropout": 0.0,
    "separable": False,
    "upsampling": "transposed",
}
UNET = {"in_channels": 3, "out_channels": 3, "depth": 8, "width": 64, "norm": "batch", "dropout": 0.5}
PATCH = {"in_channels": 6, "layers": 3, "width": 64, "norm": "batch"}


@pytest.mark.parametrize(
    ("file", "name", "arguments"),
    [
        ("full_unet_256_batch", "unet", UNET),
        ("full_unet_128_instance", "unet", {**UNET, "depth": 7, "norm": "instance"}),
        ("unet_128_batch_ngf4", "unet", {**UNET, "depth": 7, "width": 4}),
        ("full_resnet_9blocks_instance", "resnet", RESNET),
        ("full_resnet_6blocks_batch", "resnet", {**RESNET, "blocks": 6, "norm": "batch"}),
        ("resnet_9blocks_instance_ngf8", "resnet", {**RESNET, "width": 8}),
        (
            "resnet_6blocks_batch_dropout_ngf8",
            "resnet",
            {**RESNET, "in_channels": 1, "blocks": 6, "width": 8, "norm": "batch", "dropout": 0.5},
        ),
        ("full_D_basic_batch", "patch", PATCH),
        ("full_D_basic_instance", "patch", {**PATCH, "norm": "instance"}),
        ("full_D_pixel_batch", "pixel", {"in_channels": 6, "width": 64, "norm": "batch"}),
    ],
)
def test_architecture_is_inferred_from_names_and_shapes(data_dir, file, name, arguments):
    state = names_and_shapes(data_dir / f"checkpoints/reference/{file}.keys.tsv")
    kind = "discriminator" if "_D_" in file else "generator"
    convert, make = (
        (convert_discriminator, make_discriminator)
        if kind == "discriminator"
        else (convert_generator, make_generator)
    )
    found, inferred, weights = convert(state)
    assert (found, inferred) == (name, arguments)
    with torch.device("meta"):
        make(found, inferred).load_state_dict(weights, assign=True)


@pytest.mark.parametrize("file", ["full_D_basic_batch", "full_D_basic_instance", "full_D_pixel_batch"])
def test_discriminator_is_refused_as_one(data_dir, tmp_path, file):
    path = tmp_path / "latest_net_D.pth"
    torch.save(names_and_shapes(data_dir / f"checkpoints/reference/{file}.keys.tsv"), path)
    with pytest.raises(
        ModelFileError, match=r"latest_net_D\.pth is a discriminator \(\w+, 6 channels\), not a"
    ):
        import_checkpoint(path)
    assert list(tmp_path.iterdir()) == [path]


# What follows needs no data: networks as the reference builds them, made here by its published layout.


def reference_norm(norm: str, channels: int) -> nn.Module:
    return {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "none": lambda _: nn.Identity()}[norm](
        channels
    )


class ReferenceLevel(nn.Module):
    """A level of a nested U-Net: down, what is within, up; its input is joined to its output."""

    def __init__(self, outer: int, inner: int, norm: str, within: nn.Module | None = None) -> None:
        super().__init__()
        bias = norm == "instance"
        up = nn.ConvTranspose2d(inner * (2 if within else 1), outer, 4, 2, 1, bias=bias)
        down: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)]
        if within:
            down += [reference_norm(norm, inner), within]
        self.model = nn.Sequential(*down, nn.ReLU(), up, reference_norm(norm, outer))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], 1)


class ReferenceUNet(nn.Module):
    """A U-Net of three levels from 2 channels to 3."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        within = ReferenceLevel(4, 8, norm, ReferenceLevel(8, 16, norm))
        down, up = nn.Conv2d(2, 4, 4, 2, 1, bias=norm == "instance"), nn.ConvTranspose2d(8, 3, 4, 2, 1)
        self.model = nn.Module()
        self.model.model = nn.Sequential(down, within, nn.ReLU(), up, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model.model(x)


@pytest.fixture
def unet() -> ReferenceUNet:
    torch.manual_seed(0)
    return ReferenceUNet("batch").eval()


def assert_same(state: dict[str, Tensor], network: nn.Module) -> dict[str, object]:
    """Convert, and hold the output against the network's; the arguments that were inferred."""
    name, arguments, weights = convert_generator(state)
    ours = make_generator(name, arguments)
    ours.load_state_dict(weights)
    x = torch.randn(2, 2, 16, 16)
    torch.testing.assert_close(ours.eval()(x), network.eval()(x))
    return arguments


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_every_normalization_is_told_from_the_weights(norm):
    torch.manual_seed(0)
    network = ReferenceUNet(norm)
    arguments = assert_same(network.state_dict(), network)
    assert arguments["norm"] == norm
    assert (arguments["in_channels"], arguments["out_channels"], arguments["depth"]) == (2, 3, 3)


def test_checkpoints_of_data_parallel_and_before_batches_were_counted(unet):
    state = {
        f"module.{name}": tensor
        for name, tensor in unet.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert_same(state, unet)


def test_unused_statistics_of_old_instance_normalization_are_dropped():
    torch.manual_seed(0)
    network = ReferenceUNet("instance")
    state = network.state_dict()
    state["model.model.1.model.2.running_mean"] = torch.zeros(8)
    state["model.model.1.model.2.running_var"] = torch.ones(8)
    assert assert_same(state, network)["norm"] == "instance"


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_torch_are_read(unet, tmp_path, zipped):
    path = tmp_path / "latest_net_G.pth"
    torch.save(unet.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(path).keys() == unet.state_dict().keys()


def test_half_precision_weights_become_single(unet):
    _, _, weights = convert_generator(unet.half().state_dict())
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32, torch.int64}


@pytest.fixture
def checkpoint(unet, tmp_path) -> Path:
    path = tmp_path / "latest_net_G.pth"
    torch.save(unet.state_dict(), path)
    return path


def test_model_file_lies_beside_the_checkpoint_and_says_what_it_is(checkpoint):
    out = import_checkpoint(checkpoint, direction="BtoA")
    assert out == checkpoint.with_suffix(".safetensors")
    info = read_info(out)
    assert (info.method, info.generator, info.direction) == ("import", "unet", "BtoA")
    assert (info.in_channels, info.out_channels, info.size, info.size_multiple) == (2, 3, 8, 8)
    assert info.norm_inference == "per_image"
    assert info.data == {"checkpoint": "latest_net_G.pth"}


def test_existing_model_file_is_replaced_by_force_only(checkpoint):
    out = checkpoint.with_name("model.safetensors")
    out.write_text("precious")
    with pytest.raises(ModelFileError, match=r"model\.safetensors exists already: pass --force"):
        import_checkpoint(checkpoint, out)
    assert out.read_text() == "precious"
    import_checkpoint(checkpoint, out, overwrite=True)
    assert read_info(out).generator == "unet"


def test_a_name_that_no_model_file_has_is_refused(checkpoint):
    before = checkpoint.read_bytes()
    for out in (checkpoint, checkpoint.with_name("horse")):
        with pytest.raises(OptionError, match=r"whose name ends in .safetensors: pass -o .*\.safetensors$"):
            import_checkpoint(checkpoint, out, overwrite=True)
    assert checkpoint.read_bytes() == before
    assert not checkpoint.with_name("horse").exists()


def test_command_prints_what_it_found(checkpoint):
    arguments = [str(checkpoint), "-o", str(checkpoint.parent), "--norm-inference", "running"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    out = checkpoint.with_suffix(".safetensors")
    assert result.stdout.startswith(f"{out}: unet ")
    assert "depth=3" in result.stdout
    assert result.stdout.rstrip().endswith("normalization running")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.path),)


def write_evil_pickle(path: Path, trap: Path) -> None:
    path.write_bytes(pickle.dumps(Evil(trap), protocol=2))


def write_evil_zip(path: Path, trap: Path) -> None:
    torch.save({"model.model.0.weight": Evil(trap)}, path)


def write_evil_legacy(path: Path, trap: Path) -> None:
    torch.save(Evil(trap), path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [write_evil_pickle, write_evil_zip, write_evil_legacy])
def test_nothing_in_a_checkpoint_is_executed(tmp_path, write):
    path, trap = tmp_path / "latest_net_G.pth", tmp_path / "trap"
    write(path, trap)
    with pytest.raises(ModelFileError) as error:
        import_checkpoint(path)
    assert not trap.exists()
    assert str(error.value) == (
        f"{path} holds more than weights and would run {os.mkdir.__module__}.mkdir when loaded, so nothing was "
        "loaded: save the generator's state_dict() and import that"
    )


def write_png(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, format="PNG")


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.txt", "hello")


def write_torchscript(path: Path) -> None:
    with pytest.warns(FutureWarning):
        torch.jit.script(nn.Conv2d(1, 1, 1)).save(path)


def write_cut(path: Path, zipped: bool) -> None:
    torch.save({"model.model.0.weight": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:20000])


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no checkpoint"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.touch(), "is empty"),
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:93\nsize 2\n"),
        "is a Git LFS pointer",
    ),
    "text": (lambda path: path.write_text("weights\n" * 10), "is not a PyTorch checkpoint"),
    "picture": (write_png, "is not a PyTorch checkpoint"),
    "zip": (write_zip, "is not a PyTorch checkpoint"),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 4), "is not a PyTorch checkpoint"),
    "cut zip": (lambda path: write_cut(path, True), "is truncated or damaged"),
    "cut legacy": (lambda path: write_cut(path, False), "is truncated or damaged"),
    "tensor": (lambda path: torch.save(torch.zeros(3), path), "holds no named weights"),
    "nothing": (lambda path: torch.save({}, path), "holds no named weights"),
    "training state": (
        lambda path: torch.save({"epoch": 3, "weights": {}}, path),
        r"holds more than weights \('epoch' is not a tensor\)",
    ),
    "weights within": (
        lambda path: torch.save({"epoch": 3, "netG": {"a": torch.zeros(3)}}, path),
        r"torch\.save\(torch\.load\('latest_net_G\.pth'\)\['netG'\], 'latest_net_G\.pth'\) and import that",
    ),
    "optimizer": (
        lambda path: torch.save(torch.optim.Adam([torch.zeros(3)]).state_dict(), path),
        r"it is an optimizer's state; give the generator's own file",
    ),
    "TorchScript": (
        lambda path: write_torchscript(path),
        "is a TorchScript program",
    ),
    "model file": (
        lambda path: path.write_bytes(save_safetensors({"a": torch.zeros(3)})),
        "is a safetensors file and needs no import",
    ),
    "other network": (
        lambda path: torch.save({"layer1.weight": torch.zeros(3)}, path),
        r"is no U-Net or ResNet generator of the reference implementation \(it holds layer1\.weight\)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_get_one_sentence(tmp_path, kind):
    path = tmp_path / "latest_net_G.pth"
    write, reason = WRONG[kind]
    write(path)
    with pytest.raises(ModelFileError, match=f"{re.escape(str(path))}.*: .*|: check the path") as error:
        import_checkpoint(path)
    assert re.search(reason, str(error.value))
    assert "\n" not in str(error.value)
    assert not path.with_suffix(".safetensors").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty_latest_net_G", "is empty"),
        ("lfs_pointer_latest_net_G", "is a Git LFS pointer"),
        ("truncated_latest_net_G_A", "is truncated or damaged"),
    ],
)
def test_real_wrong_files(data_dir, tmp_path, name, reason):
    with pytest.raises(ModelFileError, match=reason):
        import_checkpoint(data_dir / f"checkpoints/{name}.pth", tmp_path / "out.safetensors")


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("model.model.3.weight"), r"decoder\.2\.conv\.weight is missing"),
        (without("model.model.1.model.2.running_var"), r"encoder\.1\.norm\.running_var"),
        (without("model.model.1.model.1.weight"), r"model\.model\.1\.model\.1\.weight is missing"),
        (lambda state: state.update({"model.extra.weight": torch.zeros(3)}), r"model\.extra\.weight"),
        (lambda state: state.update({"model.model.3.bias": torch.zeros(7)}), r"decoder\.2\.conv\.bias"),
        (lambda state: state.update({"model.model.0.weight": torch.zeros(())}), r"differs"),
    ],
)
def test_altered_architectures_are_refused(unet, change, reason):
    state = unet.state_dict()
    change(state)
    with pytest.raises(ModelFileError, match=f"resembles a unet .*{reason}.*: only unchanged") as error:
        convert_generator(state, "net.pth")
    assert "\n" not in str(error.value)


def test_pickle_that_torch_did_not_write_is_not_executed_either(tmp_path, recwarn):
    path, trap = tmp_path / "latest_net_G.pth", tmp_path / "trap"
    path.write_bytes(pickle.dumps(Evil(trap), protocol=5))
    with pytest.raises(ModelFileError, match="is not a PyTorch checkpoint"):
        import_checkpoint(path)
    assert not trap.exists()
    assert not recwarn.list


# Files that torch reads without a word, and not as what they are.


def repack(
    path: Path,
    compression: int = zipfile.ZIP_STORED,
    change: Callable[[str, bytes], bytes] = lambda name, data: data,
) -> None:
    """Pack a checkpoint's records anew, each changed."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))


def same_weights(path: Path, unet: ReferenceUNet) -> None:
    state, expected = read_checkpoint(path), unet.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_compressed_checkpoint_is_read_as_it_was(checkpoint, unet):
    size = checkpoint.stat().st_size
    repack(checkpoint, zipfile.ZIP_DEFLATED)
    assert checkpoint.stat().st_size < size
    same_weights(checkpoint, unet)


def test_a_compressed_checkpoint_gives_the_references_outputs(data_dir, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes((data_dir / "checkpoints/reference/unet_128_batch_ngf4_net_G.pth").read_bytes())
    repack(path, zipfile.ZIP_DEFLATED)
    network, _ = load_network(import_checkpoint(path))
    expected = np.load(data_dir / "checkpoints/reference/unet_128_batch_ngf4_expected.npz")
    with torch.inference_mode():
        output = network(torch.from_numpy(expected["x"])).numpy()
    np.testing.assert_allclose(output, expected["per_image"], rtol=0, atol=1e-5)


def test_the_other_byte_order_is_read_as_it_was(checkpoint, unet):
    """As a machine of the other byte order would have saved it."""
    sizes = {value.untyped_storage().nbytes(): value.element_size() for value in unet.state_dict().values()}

    def swap(name: str, data: bytes) -> bytes:
        if name.endswith("byteorder"):
            return b"big"
        if "/data/" not in name:
            return data
        return np.frombuffer(data, f"u{sizes[len(data)]}").byteswap().tobytes()

    repack(checkpoint, change=swap)
    same_weights(checkpoint, unet)


def test_checkpoints_without_checksums_are_read(checkpoint, unet):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(unet.state_dict(), checkpoint)
    finally:
        torch.serialization.set_crc32_options(True)
    assert {record.CRC for record in zipfile.ZipFile(checkpoint).infolist()} == {0}
    same_weights(checkpoint, unet)


def shorten(name: str, data: bytes) -> bytes:
    return data[:-4] if name.endswith("data/0") else data


def lengthen(name: str, data: bytes) -> bytes:
    return data + b"1234" if name.endswith("data/0") else data


def flip_a_bit(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo(f"{path.stem}/data/0").header_offset
    data = bytearray(path.read_bytes())
    data[place + 400] ^= 64
    path.write_bytes(data)


def add_a_second(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(f"{path.stem}/data/0", archive.read(f"{path.stem}/data/0"))


def write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data/0", "w") as record:
        for _ in range(1025):
            record.write(bytes(2**20))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: repack(path, change=shorten), "is truncated or damaged: copy it again"),
        (lambda path: repack(path, change=lengthen), "is truncated or damaged: copy it again"),
        (flip_a_bit, "is truncated or damaged: copy it again"),
        (add_a_second, "holds two records of one name"),
        (lambda path: repack(path, zipfile.ZIP_LZMA), "packed in a way that PyTorch does not read"),
        (write_bomb, "would grow to 1 GB when unpacked"),
    ],
    ids=["short", "long", "flipped bit", "twice", "lzma", "bomb"],
)
def test_a_damaged_archive_is_refused(checkpoint, damage, words):
    damage(checkpoint)
    with pytest.raises(ModelFileError, match=words):
        import_checkpoint(checkpoint)
    assert not checkpoint.with_suffix(".safetensors").exists()


FIRST = "model.model.0.weight"  # (4, 2, 4, 4)


def quantized(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings("ignore")  # torch's, of what it will not have any more
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (FIRST, lambda tensor: tensor.index_fill(0, torch.tensor(1), torch.nan), "not all finite .*NaN"),
        (
            FIRST,
            lambda tensor: tensor.index_fill(0, torch.tensor(1), -torch.inf),
            "not all finite .*infinity",
        ),
        (FIRST, lambda tensor: tensor.double() * 1e300, "not all finite .*infinity"),
        ("model.model.1.model.2.running_mean", lambda tensor: tensor / 0 * 0, "not all finite .*NaN"),
        ("model.model.1.model.2.running_var", lambda tensor: -tensor, "a variance is negative"),
        (FIRST, lambda tensor: tensor.to(torch.complex64), "as complex numbers"),
        (FIRST, lambda tensor: tensor.to_sparse(), r"a sparse tensor: save it as its to_dense\(\)"),
        (FIRST, lambda tensor: (tensor * 100).to(torch.int8), "as int8, and weights are float16"),
        (FIRST, lambda tensor: tensor > 0, "as bool, and weights are float16"),
        (
            FIRST,
            lambda tensor: tensor.to(torch.float8_e4m3fn),
            "as float8_e4m3fn, and weights are float16|is truncated or damaged",
        ),
        (FIRST, quantized, "as qint8, and weights are float16"),
        (FIRST, lambda tensor: tensor.to("meta"), "a tensor without values"),
        (FIRST, lambda tensor: torch.ones(1).expand(4, 2, 4, 4), "as fewer numbers than its shape"),
        (FIRST, lambda tensor: tensor[:1], "resembles a unet"),
        (
            FIRST,
            lambda tensor: tensor[:, :, :1, :1],
            r"encoder\.0\.conv\.weight is torch\.float32 \(4, 2, 1, 1\)",
        ),
        ("model.model.3.bias", lambda tensor: tensor[:1], r"decoder\.2\.conv\.bias is torch\.float32 \(1,\)"),
        ("model.model.3.bias", lambda tensor: tensor[None], r"is torch\.float32 \(1, 3\) in place of"),
        (
            "model.model.1.model.2.num_batches_tracked",
            lambda tensor: tensor.repeat(2),
            r"is torch\.int64 \(2,\)",
        ),
        (
            "model.model.1.model.2.num_batches_tracked",
            lambda tensor: tensor.float(),
            r"is torch\.float32 \(\)",
        ),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_weights_that_are_none_are_refused(unet, tmp_path, name, change, words, zipped):
    path = tmp_path / "latest_net_G.pth"
    state = unet.state_dict()
    state[name] = change(state[name])
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match=words) as error:
        import_checkpoint(path)
    assert str(path) in str(error.value)
    assert not path.with_suffix(".safetensors").exists()


def bits_beyond(path: Path) -> None:
    """A tensor that says it has twice the rows that its storage holds."""
    repack(path, change=lambda name, data: data.replace(b"K\x04K\x02K\x04K\x04t", b"K\x08K\x02K\x04K\x04t"))


def test_a_shape_beyond_the_storage_is_refused(checkpoint):
    before = zipfile.ZipFile(checkpoint).read("latest_net_G/data.pkl")
    bits_beyond(checkpoint)
    assert zipfile.ZipFile(checkpoint).read("latest_net_G/data.pkl") != before
    with pytest.raises(ModelFileError, match="is truncated or damaged"):
        import_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {name: tensor.double() if tensor.dim() else tensor for name, tensor in state.items()},
        lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {
            name: nn.Parameter(tensor, tensor.is_floating_point()) for name, tensor in state.items()
        },
        lambda state: {
            name: tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor for name, tensor in state.items()
        },
        lambda state: {
            name: tensor.to(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
            for name, tensor in state.items()
        },
        lambda state: {name: torch.stack([tensor, tensor])[1] for name, tensor in state.items()},
    ],
    ids=["double", "module", "compiled", "parameters", "transposed", "channels last", "views"],
)
def test_weights_in_another_form_are_the_same(unet, tmp_path, change):
    path = tmp_path / "latest_net_G.pth"
    torch.save(change(unet.state_dict()), path)
    network, _ = load_network(import_checkpoint(path, norm_inference="running"))
    x = torch.randn(2, 2, 16, 16)
    torch.testing.assert_close(network(x), unet(x))


def test_half_precision_weights_are_imported_as_they_are(unet, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    for dtype in (torch.float16, torch.bfloat16):
        torch.save(unet.to(dtype).state_dict(), path)
        network, _ = load_network(import_checkpoint(path, norm_inference="running", overwrite=True))
        assert torch.equal(network.encoder[0].conv.weight, unet.model.model[0].weight.float())


def test_prefixes_of_a_part_only_are_no_wrapper(unet, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    state = unet.state_dict()
    torch.save({**state, **{f"module.{name}": tensor for name, tensor in state.items()}}, path)
    with pytest.raises(ModelFileError, match=r"module\.model\..* is not part of it"):
        import_checkpoint(path)


def test_tied_weights_are_read_but_not_multiplied_without_end(unet, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    state = unet.state_dict()
    means = [name for name in state if name.endswith("model.2.running_mean") or name.endswith("model.2.bias")]
    assert len(means) == 2
    state[means[0]] = state[means[1]]
    torch.save(state, path)
    network, _ = load_network(import_checkpoint(path))
    assert torch.equal(network.encoder[1].norm.bias, network.encoder[1].norm.running_mean)
    torch.save(dict.fromkeys((f"model.{n}" for n in range(1000)), torch.zeros(100)), path)
    with pytest.raises(ModelFileError, match="gives the same stored weights under many names"):
        read_checkpoint(path)


def test_a_name_with_a_giant_number_is_no_loop():
    state = {"model.0.weight": torch.zeros(4, 3, 4, 4), f"model.{10**15}.weight": torch.zeros(1, 4, 4, 4)}
    with pytest.raises(ModelFileError, match="is not part of it"):
        convert_discriminator(state)


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_folders_are_no_checkpoints(name):
    with pytest.raises(ModelFileError, match=r"cannot be read .*: give a checkpoint file"):
        import_checkpoint(name)
