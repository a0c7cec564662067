"""Memory: how much there is, how much is taken, and what becomes of images for which it is too little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from translatekit_tools.bulk import Result, memory, session, translate
from translatekit_tools.bulk.memory import (
    MemoryBudget,
    MemoryUse,
    Planner,
    _left_in_cgroups,
    available,
    bytes_a_pixel,
    measure,
)
from translatekit_tools.bulk.options import Memory

from translatekit.errors import DataError, OptionError
from translatekit.images import encode_image, image_of
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import Pause, batch_by, ordered_map
from translatekit.inference.tiles import TiledTranslator
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator

MB = 10**6


@dataclass
class Greedy:
    """Gives back what it gets, and takes so many bytes a pixel meanwhile."""

    info: ModelInfo
    pixel: int = 0
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.append(batch.shape)
        taken = np.ones(batch[..., 0].size * self.pixel, np.uint8)
        del taken
        return batch


def greedy(pixel: int = 0, norm: str = "none", **info: Any) -> Greedy:
    fields = {"method": "test", "generator": "unet", "size_multiple": 16, "generator_options": {"norm": norm}}
    return Greedy(ModelInfo(**{**fields, **info}), pixel)


def png(path: Path, height: int, width: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (9, 90, 200)).save(path)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.7", Memory(None, 0.7)),
        (0.5, Memory(None, 0.5)),
        ("70%", Memory(None, 0.7)),
        ("1", Memory(None, 1.0)),
        ("8GB", Memory(8 * 10**9)),
        ("8 g", Memory(8 * 10**9)),
        ("1.5GiB", Memory(3 * 2**29)),
        ("512M", Memory(512 * MB)),
        ("300000000", Memory(300 * MB)),
    ],
)
def test_memory_is_a_size_or_a_share(text: Any, expected: Memory) -> None:
    assert Memory.parse(text) == expected
    assert Memory.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "nan", "inf", "1.5", "0%", "101%", "8X", "10KB", "much", "1 2GB"]
)
def test_other_words_for_memory_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 8GB"):
        Memory.parse(text)


def test_control_groups_limit_what_is_left(tmp_path: Path) -> None:
    def group(folder: str, **files: str) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / folder / name.replace("__", ".")).write_text(text)

    def left(lines: str) -> list[int]:
        (tmp_path / "own").write_text(lines)
        return list(_left_in_cgroups(tmp_path / "own", tmp_path / "fs"))

    group("fs/memory/jobs", memory__limit_in_bytes="900", memory__usage_in_bytes="500")
    group("fs/memory/jobs/a", memory__limit_in_bytes="800", memory__usage_in_bytes="300")
    group("fs/memory/jobs/a", memory__stat="cache 9\ntotal_inactive_file 100\n")
    assert left("3:cpu:/x\n4:memory,foo:/jobs/a\n0::/\n") == [600, 400]
    assert left("4:memory:/docker/of/the/host\n") == []  # seen from within a container
    group("fs/memory", memory__limit_in_bytes="700", memory__usage_in_bytes="100")
    assert left("4:memory:/docker/of/the/host\n") == [600]
    group("fs/slice", memory__max="max", memory__current="5")
    group("fs/slice/b", memory__max="50", memory__current="30", memory__stat="inactive_file 10\n")
    assert left("0::/slice/b\n") == [30]
    assert list(_left_in_cgroups(tmp_path / "nowhere", tmp_path / "fs")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import psutil, resource\n"
        "from translatekit_tools.bulk.memory import available\n"
        "used = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 10**8, resource.RLIM_INFINITY))\n"
        "print(available())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2 * 10**8 < int(result.stdout) <= 3 * 10**8
    assert 0 < available() <= psutil.virtual_memory().total


@pytest.mark.parametrize("pixel", [200, 900])
def test_what_a_model_takes_is_measured(pixel: int) -> None:
    need = measure(greedy(pixel))
    assert 1.0 < need(1, 2048, 2048) / (pixel * 2048**2) < 2.5  # it looks every 2 ms


@pytest.mark.skipif(sys.platform != "linux", reason="figures of Linux")
def test_a_real_model_takes_no_more_than_is_computed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_generator("unet", {"depth": 5, "width": 16}, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="test",
        generator="unet",
        generator_options=network.arguments,  # type: ignore[arg-type]
        size_multiple=32,
        norm_inference="per_image",
    )
    save_model(tmp_path / "model.safetensors", network.state_dict(), info)
    code = (
        "import re, sys, numpy as np, translatekit\n"
        "from pathlib import Path\n"
        "from translatekit_tools.bulk.memory import measure\n"
        "need = measure(translatekit.load(sys.argv[1], 'cpu'))\n"
        "model = translatekit.load(sys.argv[1], 'cpu')\n"
        "image = np.zeros((1, 1536, 1536, 3), np.uint8)\n"
        "def peak():\n"  # getrusage would begin with the peak of the process that started this one
        "    return 1024 * int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "before = peak()\n"
        "model(image)\n"
        "print((peak() - before) / need(1, 1536, 1536))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.25 < float(result.stdout) < 1.1


@pytest.fixture
def takes_1250(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring a model finds 1250 bytes a pixel."""
    monkeypatch.setattr(memory, "measure", lambda translator: MemoryUse(0, 1250))


def planner(translator: Any, limit: int) -> Planner:
    return limited(Predictor(translator), limit)


def limited(predictor: Predictor, limit: int) -> Planner:
    model: Any = predictor.translator
    made = Planner(predictor, Memory(None, 1.0), lambda: replace(model, shapes=[]))
    made.limit = limit
    return made


def whole(planner: Planner, height: int, width: int, most: int = 4) -> int:
    """How many images of a size are translated at once, whole."""
    predictor, count = planner.plan(height, width, 1, most)
    assert predictor.tile is None
    return count


@pytest.mark.usefixtures("takes_1250")
def test_a_batch_shrinks_first_then_come_tiles_then_a_refusal() -> None:
    model = greedy()
    few = planner(model, 2 * 700 * MB)  # half of it for the model
    assert whole(few, 640, 640) == 1
    assert whole(few, 320, 320) == 4
    assert whole(few, 512, 512) == 2
    tiled, count = few.plan(2048, 2048, 1, 4)
    assert isinstance(tiled.translator, TiledTranslator)
    assert (tiled.tile, count) == (512, 1)
    assert few.plan(512, 4096, 1, 4)[0] is tiled
    with pytest.raises(
        DataError, match=r"2048x2048 pixels take.* 1.5 GB, more than the 1.4 GB that --memory leaves"
    ):
        few.plan(2048, 2048, 1500 * MB, 4)
    with pytest.raises(
        DataError, match=r"translating 2048x2048 pixels takes about 5.2 GB, more than the 20 MB"
    ):
        planner(model, 40 * MB).plan(2048, 2048, 1, 4)


@pytest.mark.usefixtures("takes_1250")
def test_what_cannot_be_tiled_is_refused_with_the_reason() -> None:
    with pytest.raises(DataError, match=r"not in tiles either.*statistics of the whole image"):
        planner(greedy(1000, norm="instance"), 1400 * MB).plan(2048, 2048, 1, 1)
    fixed = greedy(1000, compiled={"shapes": "256x256"})
    with pytest.raises(DataError, match="translating 2048x2048 pixels takes"):
        planner(fixed, 1400 * MB).plan(2048, 2048, 1, 1)


def test_what_is_small_needs_no_measurement() -> None:
    model = greedy(1000)
    assert whole(planner(model, 10**10), 512, 512) == 4
    assert not planner(model, 10**10).must_measure(512, 512)
    assert planner(model, 10**8).must_measure(512, 512)


def test_less_memory_than_the_program_takes_already_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"--memory 1000000B is less than the .* that the program"):
        Planner(Predictor(greedy()), Memory(MB), greedy)


def test_pixels_of_deep_and_hard_formats_count_more(data_dir: Path) -> None:
    folder = data_dir / "images"
    assert bytes_a_pixel(folder / "cat.jpg", ".jpg") == bytes_a_pixel(
        (folder / "hopper.png").read_bytes(), ".png"
    )
    plain = bytes_a_pixel(folder / "hopper.tif", ".png")
    for name in ("16bit.cropped.tif", "basn2c16.png", "hopper_16bit.pgm", "avif_hopper.avif", "basn6a16.png"):
        assert bytes_a_pixel(folder / name, ".png") > 2 * plain
    assert bytes_a_pixel(folder / "hopper.tif", ".webp") > 2 * plain
    assert bytes_a_pixel(b"no image", ".png") > 2 * plain


def test_an_allowance_lets_one_alone_take_more_and_others_wait() -> None:
    budget = MemoryBudget()
    release = budget.acquire(300, 100)
    assert not budget.fits(1, 100)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(budget.acquire, 60, 100)
        assert not second.done()
        release()
        second.result(10)
    assert budget.fits(40, 100)
    assert not budget.fits(41, 100)
    waiting = threading.Thread(target=budget.wait_until_idle)
    waiting.start()
    budget.close()
    waiting.join(10)
    assert not waiting.is_alive()


def test_before_a_pause_passes_everything_that_waits_leaves() -> None:
    def items() -> Iterator[int | Pause]:
        yield from (1, 2)
        assert left == [1, 2]  # asked for more, it has nothing left
        yield 3

    def with_pause() -> Iterator[int | Pause]:
        for number, item in enumerate(items()):
            yield item
            if number == 1:
                yield Pause()

    left: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        mapped = ordered_map(lambda item: item, with_pause(), pool, 8)
        batches = []
        for batch in batch_by(lambda item: "same", mapped, lambda key: 8, 100):
            batches.append(batch)
            left += batch
    assert batches == [[1, 2], [], [3]]


@pytest.mark.parametrize("submits", [False, True])
def test_images_on_their_way_stay_within_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, submits: bool
) -> None:
    """Large ones go alone, small ones together; whatever the order, all arrive."""
    sizes = [(160, 160)] * 6 + [(640, 640)] * 3 + [(160, 160)] * 6 + [(1600, 640)] + [(160, 160)] * 6
    for number, (height, width) in enumerate(sizes):
        png(tmp_path / f"in/{number:02}.png", height, width)
    alive, most, lock = 0, 0, threading.Lock()
    take = MemoryBudget.acquire

    def counted(self: MemoryBudget, cost: int, limit: int) -> Any:
        nonlocal alive, most
        release = take(self, cost, limit)
        with lock:
            alive += cost
            most = max(most, alive)

        def less() -> None:
            nonlocal alive
            with lock:
                alive -= cost
            release()

        return less

    class Later(Greedy):
        def submit(self, batch: np.ndarray) -> Any:
            return type("Future", (), {"result": staticmethod(lambda: batch)})()

    monkeypatch.setattr(MemoryBudget, "acquire", counted)
    monkeypatch.setattr(session, "Planner", lambda predictor, memory, fresh: limited(predictor, 30 * MB))
    model = greedy(1)
    if submits:
        model = Later(model.info, 1)
    done: list[Result] = []
    summary = translate(tmp_path / "in", model, tmp_path / "out", progress=done.append, batch_size=4)
    assert summary.translated == len(sizes)
    assert [result.source.name for result in done] == [f"{number:02}.png" for number in range(len(sizes))]
    assert alive == 0
    largest = 1600 * 640 * 24
    assert largest > 15 * MB
    assert most == largest


def test_stopping_does_not_wait_for_memory(tmp_path: Path) -> None:
    for number in range(4):
        png(tmp_path / f"in/{number}.png", 640, 640)

    class Stuck(Greedy):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate(tmp_path / "in", Stuck(greedy().info), tmp_path / "out")


@pytest.mark.usefixtures("takes_1250")
def test_a_large_image_is_tiled_by_itself_and_said_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Planner", lambda predictor, memory, fresh: limited(predictor, 400 * MB))
    for name in ("a", "b"):
        png(tmp_path / f"in/{name}.png", 800, 800)
    png(tmp_path / "in/c.png", 64, 64)

    class Told(list[str]):
        say = list[str].append

        def __call__(self, result: Result) -> None:
            pass

    told, model = Told(), greedy(1000)
    summary = translate(tmp_path / "in", model, tmp_path / "out", progress=told)
    assert summary.translated == 3
    assert max(max(shape) for shape in model.shapes) == 256
    assert (64, 64) in {shape[1:3] for shape in model.shapes}
    (sentence,) = told
    assert sentence.startswith(f"{tmp_path / 'in/a.png'}: 800x800 pixels would take about ")
    assert "translated in tiles of 256 (see --tile and --memory)" in sentence


def test_tiles_row_by_row_are_those_of_the_whole(tmp_path: Path) -> None:
    """The sums of the tiles are kept for a row of them alone; the image comes out the same."""
    image = np.random.default_rng(0).integers(0, 256, (1, 100, 70, 3), np.uint8)
    for pixels in (image, image.astype(np.float32) / 255):
        output = TiledTranslator(greedy(), 32, 16)(pixels)
        np.testing.assert_allclose(output, pixels, atol=1e-6)


def model_file(path: Path) -> Path:
    torch.manual_seed(0)
    network = make_generator("unet", {"depth": 4, "width": 8, "norm": "none"}, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="test",
        generator="unet",
        generator_options=network.arguments,  # type: ignore[arg-type]
        size_multiple=16,
    )
    save_model(path, network.state_dict(), info)
    return path


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "translatekit", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def test_what_is_beyond_all_memory_is_refused_by_name(tmp_path: Path) -> None:
    model = model_file(tmp_path / "model.safetensors")
    png(tmp_path / "in/a.png", 32, 32)
    frames = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(tmp_path / "in/b.gif", save_all=True, append_images=frames[1:])
    result = run(tmp_path / "in", "-m", model, "-o", tmp_path / "out", "--size", "65535")
    assert result.returncode == 1
    assert "65536x65536 pixels takes about 103.1 GB, more than the " in result.stderr
    assert "65536x65536 pixels takes about 326.4 GB, more than the " in result.stderr
    assert "2 failed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of its own with 900 MB, or a skip where none can be made."""
    for root, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        folder = root / f"translatekit-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / name).write_text(str(900 * MB))
            yield folder
            return
        except OSError:
            continue
        finally:
            folder.rmdir()
    pytest.skip("no control group can be made here")


@pytest.mark.slow
def test_within_a_control_group_a_large_image_is_translated_instead_of_killed(
    tmp_path: Path, small_group: Path
) -> None:
    model = model_file(tmp_path / "model.safetensors")
    png(tmp_path / "in/large.png", 2600, 2600)

    def enter() -> None:
        (small_group / "cgroup.procs").write_text(str(os.getpid()))

    result = run(tmp_path / "in", "-m", model, "-o", tmp_path / "out", "--json", preexec_fn=enter)
    assert result.returncode == 0, result.stderr
    assert "translated in tiles of" in result.stderr
    assert json.loads(result.stdout)["translated"] == 1


def test_deep_pictures_are_counted_as_such(tmp_path: Path) -> None:
    data = encode_image(image_of(np.zeros((8, 8, 3), np.float32)), ".tif")
    assert bytes_a_pixel(data, ".tif") > bytes_a_pixel(
        encode_image(image_of(np.zeros((8, 8, 3), np.uint8)), ".tif"), ".tif"
    )
