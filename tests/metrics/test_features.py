"""What FID and KID compare images by."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translatekit.datasets.demo import Demo
from translatekit.errors import TranslatekitError
from translatekit.interfaces import DataOptions
from translatekit.metrics import weights
from translatekit.metrics.features import make_features
from translatekit.metrics.sets import kid
from translatekit.metrics.weights import MissingWeightsError, has_weights
from translatekit.storage import hash_file


@pytest.fixture(scope="module")
def facades() -> torch.Tensor:
    """60 drawn photographs of 64 pixels."""
    data = Demo(None, DataOptions(split="train", load_size=64, crop_size=64, flip=False), count=60)
    data.set_epoch(0)
    return torch.stack([data[index]["target"] for index in range(60)])


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of weights, drawn at random, for the network of FID, named after its hash as on its server."""
    fid = pytest.importorskip("torchmetrics.image.fid")
    pytest.importorskip("torch_fidelity")

    class Untrained(fid.NoTrainInceptionV3):  # type: ignore[misc, name-defined]
        def load_state_dict(self, *_: Any, **__: Any) -> None: ...

    folder = tmp_path_factory.mktemp("weights")
    torch.save({}, folder / "none.pth")
    torch.manual_seed(0)
    network = Untrained("inception-v3-compat", ["2048"], str(folder / "none.pth"))
    torch.save(network.state_dict(), folder / "new.pth")
    path = folder / f"weights-inception-{hash_file(folder / 'new.pth', 'sha256')[:8]}.pth"
    (folder / "new.pth").rename(path)
    yield path
    path.unlink()


@pytest.fixture
def hub(inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights belong, and a server that has them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(weights.URLS, "fid", f"https://nowhere.invalid/{inception.name}")
    return tmp_path / "hub" / "checkpoints" / inception.name


@pytest.fixture
def installed(hub: Path, inception: Path) -> Path:
    """The weights, where they belong."""
    hub.parent.mkdir(parents=True)
    hub.symlink_to(inception)
    return hub


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server that has a folder's files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def softened(images: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        images = torch.nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return images


@pytest.mark.parametrize("change", ["blur", "noise", "colour"])
def test_own_features_tell_what_is_wrong_with_a_set(facades: torch.Tensor, change: str) -> None:
    network = make_features("own")
    half, other = facades[::2], facades[1::2]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([1.0, 0.0, -1.0])[:, None, None]

    def changed(much: int) -> torch.Tensor:
        if change == "blur":
            return softened(other, much)
        return (other + 0.08 * much * (noise if change == "noise" else shift)).clamp(-1, 1)

    found = [kid(network(half), network(changed(much))) for much in (0, 1, 3)]
    assert found[0] < found[1] < found[2]
    assert abs(found[0]) < 0.3 * found[1]


def test_own_features_see_an_image_alone(facades: torch.Tensor) -> None:
    network = make_features("own")
    together = network(facades[:4])
    assert together.shape == (4, 208)
    torch.testing.assert_close(network(facades[2:3]), together[2:3], rtol=1e-4, atol=1e-4)
    assert set(network.measured_by) == {"network", "weights"}


def test_the_three_ways_to_resize_see_the_same_network(installed: Path, facades: torch.Tensor) -> None:
    images = facades[:2]
    ways = {name: make_features(name) for name in ("inception", "clean-fid", "pytorch-fid")}
    assert len({network.measured_by["resize"] for network in ways.values()}) == 3
    assert {network.measured_by["weights"] for network in ways.values()} == {hash_file(installed, "sha256")}
    found = {name: network(images) for name, network in ways.items()}
    assert {features.shape for features in found.values()} == {(2, 2048)}
    assert not torch.allclose(found["inception"], found["clean-fid"], rtol=1e-3)
    # At the network's own size nothing is resized: there TensorFlow's way and the antialiased one are one.
    levels = torch.randint(0, 256, (1, 3, 299, 299), generator=torch.Generator().manual_seed(0))
    exact = levels / 127.5 - 1
    torch.testing.assert_close(ways["clean-fid"](exact), ways["inception"](exact), rtol=1e-3, atol=1e-4)


def test_images_are_enlarged_as_by_pillow(facades: torch.Tensor) -> None:
    from translatekit.metrics.features import _bicubic

    levels = ((facades[:1] + 1) * 127.5).round()
    channel = Image.fromarray(levels[0, 1].numpy()).resize((299, 299), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(_bicubic(levels)[0, 1].numpy(), np.asarray(channel).clip(0, 255))


def test_missing_weights_are_named_and_downloaded(
    hub: Path, inception: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_weights("fid")
    with pytest.raises(MissingWeightsError, match=r"pass --download, or download it from https://nowhere"):
        make_features()
    with served(inception.parent) as address:
        monkeypatch.setitem(weights.URLS, "fid", f"{address}/{inception.name}")
        with pytest.raises(MissingWeightsError) as missing:
            make_features()
        pickle.loads(pickle.dumps(missing.value)).download()
    assert has_weights("fid")
    assert hub.read_bytes() == inception.read_bytes()


def test_other_weights_than_the_named_ones_are_refused(
    hub: Path, inception: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / inception.name).write_bytes(b"another file")
    with served(tmp_path / "other") as address:
        monkeypatch.setitem(weights.URLS, "fid", f"{address}/{inception.name}")
        with pytest.raises(MissingWeightsError) as missing:
            make_features()
        with pytest.raises(TranslatekitError, match=r"could not be downloaded .*hash"):
            missing.value.download()
    assert not hub.exists()
    hub.parent.mkdir(parents=True, exist_ok=True)
    hub.write_bytes(b"another file")
    with pytest.raises(TranslatekitError, match="is damaged: delete it"):
        make_features()
