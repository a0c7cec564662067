"""The translator on a driver that runs nothing before it must, and counts what is not given back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import translatekit_tools

from tests.tools.backends.tensorrt.calls import find_uses
from tests.tools.backends.tensorrt.conftest import RunPython
from tests.tools.backends.tensorrt.engines import write_engine

CUDA = Path(translatekit_tools.__file__).parent / "backends" / "tensorrt" / "cuda"
START = """
import ctypes, gc, sys, threading
from pathlib import Path
import numpy as np
from translatekit.errors import TranslatekitError
from translatekit_tools.backends.tensorrt.translator import load

driver = ctypes.CDLL("libcuda.so.1")
engine = Path(sys.argv[1])
random = np.random.default_rng(0)

def images(count, height=8, width=8):
    return random.integers(0, 256, (count, height, width, 3), np.uint8)

def refused(function, *arguments):
    try:
        function(*arguments)
    except TranslatekitError as error:
        return str(error)
    raise AssertionError("it was not refused")
"""

FOR_TARGETS = {
    "flavour": "tensorrt-rtx",
    "targets": "9.0",
    "tensorrt": "1.7.1.116",
    "gpu": "",
    "compute_capability": "",
}
"""What an engine's header says that was built for GPUs by what they can, without any."""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return write_engine(tmp_path / "model.engine")


def test_batches_of_every_size_and_order(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
assert (translator.device, translator.preferred_batch) == ("cuda:0", 2)
assert translator.info.generator == "unet"
sizes = [(1, 8, 8), (4, 12, 16), (3, 8, 8), (9, 8, 8), (2, 12, 16), (0, 8, 8), (4, 12, 16), (1, 8, 8)]
batches = [images(*size) for size in sizes]
futures = [translator.submit(batch) for batch in batches]
for index in (2, 0, 1, 6, 5, 4, 3, 7, 0):
    result = futures[index].result()
    assert result.dtype == np.uint8 and result.flags.owndata and result.flags.writeable
    np.testing.assert_array_equal(result, 255 - batches[index])
""",
        engine,
    )


def test_results_survive_later_batches(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
batches = [images(4) for _ in range(50)]
waiting, results = [], []
for batch in batches:
    waiting.append(translator.submit(batch))
    if len(waiting) == 3:
        results.append(waiting.pop(0).result())
results += [future.result() for future in waiting]
for batch, result in zip(batches, results):
    np.testing.assert_array_equal(result, 255 - batch)
""",
        engine,
    )


def test_a_least_batch_is_filled_up(run_on_stub: RunPython, tmp_path: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
for count in (1, 2, 3, 5):
    batch = images(count)
    np.testing.assert_array_equal(translator(batch), 255 - batch)
""",
        write_engine(tmp_path / "model.engine", batch="2,2,4"),
    )


def test_float_batches(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
batch = images(5)
result = load(engine)((batch / 255).astype(np.float32))
assert result.dtype == np.float32
np.testing.assert_allclose(result, (255 - batch) / 255, atol=1e-6)
""",
        engine,
    )


def test_engines_of_float32(run_on_stub: RunPython, tmp_path: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
assert translator.dtypes == ("uint8", "float32")
batches = [(images(count) / 255).astype(np.float32) for count in (1, 3, 9)]
for batch, future in [(batch, translator.submit(batch)) for batch in batches]:
    result = future.result()
    assert result.dtype == np.float32 and result.shape == batch.shape
    np.testing.assert_array_equal(result.view(np.uint8), 255 - batch.view(np.uint8))
assert "hold NaN or infinite values" in refused(translator, np.full((1, 8, 8, 3), np.nan, np.float32))
""",
        write_engine(tmp_path / "model.engine", dtype="float32"),
        FAKE_FLOAT="1",
    )


def test_an_engine_of_another_dtype_than_its_header_says_is_refused(
    run_on_stub: RunPython, engine: Path
) -> None:
    run_on_stub(
        START + 'assert "the engine\'s image is not uint8" in refused(load, engine)',
        engine,
        FAKE_FLOAT="1",
    )


def test_any_thread_may_call_and_the_callers_context_is_its_own(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
failures = []

def work():
    batch = images(3)
    if not np.array_equal(translator(batch), 255 - batch) or driver.stub_depth() != 0:
        failures.append(threading.get_ident())

for _ in range(5):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert failures == [] and driver.stub_depth() == 0
""",
        engine,
    )


def test_everything_is_given_back(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
def use(translator):
    translator(images(4))
    translator.submit(images(4, 12, 16))  # still under way when it is closed

translator = load(engine)
use(translator)
assert driver.stub_live() > 0
translator.close()
assert driver.stub_live() == 0
translator.close()

translator = load(engine)
use(translator)
other = threading.Thread(target=gc.collect)
del translator
other.start()
other.join()
assert driver.stub_live() == 0
""",
        engine,
    )


def test_a_program_may_end_with_batches_under_way(run_on_stub: RunPython, engine: Path) -> None:
    done = run_on_stub(START + "translator = load(engine); translator.submit(images(4))", engine)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_the_engine_does_not_take_is_refused(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
assert "takes images of 8x8, 16x12, got 16x8: pass --size" in refused(translator, images(1, 8, 16))
for wrong in (images(1)[0], images(1)[..., :1], images(1).astype(np.int64)):
    assert "takes uint8 or float32 arrays (N, H, W, 3)" in refused(translator.submit, wrong)
batch = images(2)
np.testing.assert_array_equal(translator(batch), 255 - batch)
assert "was built for fp16, not fp32" in refused(load, engine, "auto", "fp32")
assert "'cuda:7' is not available" in refused(load, engine, "cuda:7")
assert "was built on Stub 0" in refused(load, engine, "cuda:1")
""",
        engine,
    )


def test_sides_within_a_range_must_be_multiples_of_what_the_network_needs(
    run_on_stub: RunPython, tmp_path: Path
) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
for wrong in (images(1, 10, 12), images(1, 12, 10)):
    assert "unet needs sides that are multiples of 4, got " in refused(translator, wrong)
batch = images(1, 12, 16)
np.testing.assert_array_equal(translator(batch), 255 - batch)
""",
        write_engine(tmp_path / "model.engine", shapes="8x8/8x8/16x16"),
    )


def test_an_engine_of_tensorrt_rtx_is_checked_where_the_model_is_run_on_the_cpu(
    run_on_stub: RunPython, tmp_path: Path
) -> None:
    run_on_stub(
        START
        + """
from translatekit_tools.backends.tensorrt import checker
translator, remark = checker.load(engine, "cpu")
assert (translator.device, remark) == ("cuda:0", "")
translator.close()
""",
        write_engine(
            tmp_path / "model.engine",
            **FOR_TARGETS,
        ),
        tmp_path / "cache",
        TRANSLATEKIT_CACHE=tmp_path / "cache",
    )


def test_another_device_may_be_named(run_on_stub: RunPython, tmp_path: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine, "cuda:1")
assert translator.device == "cuda:1"
batch = images(1)
np.testing.assert_array_equal(translator(batch), 255 - batch)
assert "was built on Stub 1" in refused(load, engine)
""",
        write_engine(tmp_path / "model.engine", gpu="Stub 1"),
    )


def test_too_little_memory_is_told_and_does_not_last(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
assert "4 of 16x12 pixels do not fit into the GPU's memory: pass --size" in refused(translator, images(4, 12, 16))
for _ in range(5):
    batch = images(1)
    np.testing.assert_array_equal(translator(batch), 255 - batch)
translator.close()
assert driver.stub_live() == 0
""",
        engine,
        STUB_MEMORY=1000,
    )


def test_an_engine_that_does_not_run_is_told_and_others_go_on(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
translator = load(engine)
futures = {count: translator.submit(images(count)) for count in (1, 2, 3, 4)}
assert "does not run (an illegal memory access): build it again with" in refused(futures[3].result)
assert [futures[count].result().shape[0] for count in (4, 2, 1)] == [4, 2, 1]
for _ in range(9):
    translator(images(1))
    refused(translator, images(3))
translator.close()
assert driver.stub_live() == 0
""",
        engine,
        FAKE_FAILS_AT=3,
    )


def test_results_of_unknown_shape_are_refused(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(START + "assert 'does not run' in refused(load(engine), images(1))", engine, FAKE_UNKNOWN=1)


def test_a_gpu_without_room_for_the_engine_is_told(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(START + "assert 'does not fit into the GPU' in refused(load, engine)", engine, FAKE_FULL=1)


def test_an_engine_that_tensorrt_does_not_load_is_told(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(
        START
        + """
from translatekit_tools.backends.tensorrt.engine_file import hash_engine, read_header, write_header
import dataclasses
engine.write_bytes(b"rubbish")
write_header(engine, dataclasses.replace(read_header(engine), sha256=hash_engine(b"rubbish")))
assert "cannot load the engine (Magic tag does not match): build it with translatekit compile" in refused(load, engine)
assert driver.stub_live() == 0
""",
        engine,
    )


def test_tensorrt_rtx_keeps_what_it_compiles(run_on_stub: RunPython, tmp_path: Path) -> None:
    run_on_stub(
        START
        + """
folder = Path(sys.argv[2]) / "tensorrt-rtx"
for expected in (b"this GPU", b"this GPU+", b"this GPU++"):
    translator = load(engine)
    batch = images(3)
    np.testing.assert_array_equal(translator(batch), 255 - batch)
    translator.close()
    assert driver.stub_live() == 0
    (kept,) = folder.iterdir()
    assert kept.name.endswith("-9.0.runtime") and kept.read_bytes() == expected, kept.read_bytes()
kept.write_bytes(b"foreign")
load(engine).close()
assert kept.read_bytes() == b"this GPU"
""",
        write_engine(
            tmp_path / "model.engine",
            **FOR_TARGETS,
        ),
        tmp_path / "cache",
        TRANSLATEKIT_CACHE=tmp_path / "cache",
    )


def test_no_torch_is_imported(run_on_stub: RunPython, engine: Path) -> None:
    run_on_stub(START + "load(engine)(images(2))\nassert 'torch' not in sys.modules", engine)


def test_the_public_api_opens_it(run_on_stub: RunPython, engine: Path, tmp_path: Path) -> None:
    """From files to files, by the registered backend."""
    run_on_stub(
        START
        + """
from PIL import Image
import translatekit
folder = engine.parent
(folder / "in").mkdir()
pictures = {}
for index in range(9):
    pictures[index] = images(1)[0]
    Image.fromarray(pictures[index]).save(folder / "in" / f"{index}.png")
translatekit.translate([folder / "in"], engine, folder / "out")
for index, picture in pictures.items():
    with Image.open(folder / "out" / f"{index}.png") as result:
        np.testing.assert_array_equal(np.asarray(result), 255 - picture)
""",
        engine,
    )


def test_every_pycuda_name_exists(run_with_pycuda: RunPython) -> None:
    paths = {use.path for use in find_uses(CUDA / "driver_pycuda.py", "cuda")}
    assert {
        "Stream",
        "Context.pop",
        "memcpy_htod_async",
        "pagelocked_empty",
        "event_flags.BLOCKING_SYNC",
    } <= paths
    run_with_pycuda(
        "import operator, sys, pycuda.driver as cuda\nfor path in sys.argv[1:]: operator.attrgetter(path)(cuda)",
        *sorted(paths),
    )


def test_only_the_two_implementations_import_what_reaches_the_driver() -> None:
    tools = CUDA.parent
    importers = {
        path.name
        for path in tools.rglob("*.py")
        if re.search(r"^ *(from|import) (cuda\b|pycuda)", path.read_text(), re.MULTILINE)
    }
    assert importers == {"driver_bindings.py", "driver_pycuda.py"}


def test_neither_installed_is_told(run_python: RunPython, engine: Path) -> None:
    without = "import sys\nsys.modules['pycuda'] = sys.modules['cuda.bindings'] = None\n"
    done = run_python(without + START + "print(refused(load, engine))", engine)
    assert done.stdout.startswith("engines cannot be run (cuda.bindings: "), done.stderr
    assert "run pip install 'translatekit[tensorrt-rtx]'" in done.stdout
