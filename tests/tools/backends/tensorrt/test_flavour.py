"""Which of the two libraries builds, and what is said where neither can."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from translatekit_tools.backends.tensorrt import flavour
from translatekit_tools.backends.tensorrt.flavour import FULL, RTX, choose_flavour, use

from translatekit.errors import OptionError, PluginError


@pytest.mark.parametrize(
    ("installed", "has_gpu", "chosen"),
    [
        ({"tensorrt", "tensorrt_rtx"}, True, FULL),
        ({"tensorrt", "tensorrt_rtx"}, False, RTX),
        ({"tensorrt"}, True, FULL),
        ({"tensorrt_rtx"}, True, RTX),
        (set(), False, RTX),
    ],
)
def test_what_is_installed_builds(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], has_gpu: bool, chosen: flavour.Flavour
) -> None:
    pretend(monkeypatch, installed, has_gpu)
    assert choose_flavour("auto") is chosen
    assert choose_flavour("tensorrt") is FULL
    assert choose_flavour("tensorrt-rtx") is RTX


def pretend(monkeypatch: pytest.MonkeyPatch, installed: set[str], has_gpu: bool) -> None:
    def find_gpus() -> list[object]:
        if not has_gpu:
            raise OptionError("there is no NVIDIA driver here: use another machine")
        return [object()]

    finder = SimpleNamespace(find_spec=lambda name: object() if name in installed else None)
    monkeypatch.setattr(flavour, "importlib", SimpleNamespace(util=finder))
    monkeypatch.setattr(flavour, "find_gpus", find_gpus)


def test_the_full_one_without_a_gpu_is_told_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"tensorrt"}, has_gpu=False)
    with pytest.raises(OptionError, match=r"no NVIDIA driver .* pip install 'translatekit\[tensorrt-rtx\]'"):
        choose_flavour("auto")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = flavour.Flavour("tensorrt-rtx", "no_such_tensorrt", "TensorRT-RTX")
    monkeypatch.setattr(flavour, "_used", missing)
    with pytest.raises(PluginError, match=r"TensorRT-RTX cannot be used .*'translatekit\[tensorrt-rtx\]'"):
        use(missing)


def test_one_process_works_with_one_of_them() -> None:
    pytest.importorskip("tensorrt_rtx")
    script = """
from translatekit.errors import PluginError
from translatekit_tools.backends.tensorrt.flavour import FULL, RTX, title, use
assert use(RTX) == use(RTX) and title() == "TensorRT-RTX"
from translatekit_tools.backends.tensorrt import log
try:
    use(FULL)
except PluginError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == (
        "this process works with TensorRT-RTX and cannot load TensorRT beside it: start another\n"
    ), done.stderr
