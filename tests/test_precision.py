"""What a machine is quick in: measured once, kept, and said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

import translatekit.precision as precision
from translatekit.config import RunConfig
from translatekit.errors import OptionError
from translatekit.options import convert
from translatekit.precision import (
    Precision,
    Speeds,
    TrainPrecision,
    measured,
    requested_precision,
    time_interleaved,
)

QUICK = {"fp32": 2.0, "bf16": 1.0, "int8": 0.5}
SLOW = {"fp32": 1.0, "bf16": 43.0}

IN_THIS_ISA = """
import json
from translatekit.precision import choose_for_training, torch_speeds
speeds = torch_speeds()
print(json.dumps([choose_for_training("cpu"), speeds.speedup("bf16"), speeds.slowness("bf16")]))
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of its own, and no memory of what was measured."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "_MEASURED", {})
    return tmp_path / "speeds"


def never() -> Mapping[str, float]:
    raise AssertionError("measured again")


def once(seconds: Mapping[str, float]) -> Callable[[], Mapping[str, float]]:
    answers = [seconds]
    return lambda: answers.pop()


class TestNames:
    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ("32-true", "fp32"),
            ("bf16-mixed", "bf16"),
            ("16-mixed", "fp16"),
            ("BF16", "bf16"),
            ("auto", "auto"),
        ],
    )
    def test_older_names_are_read(self, given: str, name: str) -> None:
        assert (
            convert(given, TrainPrecision, "--precision") == convert(given, Precision, "--precision") == name
        )
        assert RunConfig.resolve("pix2pix", None, {"precision": given}).options.precision == name

    def test_a_configuration_of_an_older_run(self, tmp_path: Path) -> None:
        text = RunConfig.resolve("pix2pix", None, {"precision": "bf16"}).to_toml()
        (tmp_path / "config.toml").write_text(text.replace('"bf16"', '"bf16-mixed"'))
        assert RunConfig.from_toml(tmp_path / "config.toml").options.precision == "bf16"

    def test_what_is_none(self) -> None:
        with pytest.raises(OptionError, match="'auto', 'fp32', 'bf16', 'fp16', got 'int8'"):
            RunConfig.resolve("pix2pix", None, {"precision": "int8"})
        with pytest.raises(OptionError, match=r"load.*'auto', 'fp32', 'bf16', 'fp16', 'int8', got 'fp64'"):
            requested_precision("fp64", "load()")
        assert requested_precision(None, "load()") is requested_precision("auto", "load()") is None


class TestJudgement:
    def test_quick_slow_and_neither(self) -> None:
        speeds = Speeds("a runtime 1.0", {"fp32": 1.0, "bf16": 0.5, "fp16": 4.3, "int8": 0.95})
        assert speeds.is_quick("bf16")
        assert speeds.slowness("bf16") is None
        assert not speeds.is_quick("fp16")
        assert str(speeds.slowness("fp16")).startswith(
            "fp16 takes 4.3 times as long as fp32 on this processor"
        )
        assert not speeds.is_quick("int8")  # within what a probe scatters
        assert speeds.slowness("int8") is None
        assert not Speeds("a runtime 1.0", {"fp32": 1.0}).is_quick("bf16")

    @pytest.mark.parametrize(("seconds", "choice"), [(QUICK, "bf16"), (SLOW, "fp32")])
    def test_auto_on_a_cpu_is_what_is_quick(
        self, seconds: Mapping[str, float], choice: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precision, "_measure_torch", lambda: seconds)
        assert precision.choose_for_training("cpu") == choice
        assert precision.choose_for_training("mps") == "fp32"
        assert (precision.torch_slowness("bf16", "cpu") is None) == (choice == "bf16")
        assert precision.torch_slowness("fp32", "cpu") is None

    @pytest.mark.parametrize(
        ("capability", "choice"),
        [((6, 1), "fp32"), ((7, 0), "fp16"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((12, 0), "bf16")],
    )
    def test_auto_on_a_gpu_goes_by_its_capability(
        self, capability: tuple[int, int], choice: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(precision, "_measure_torch", never)
        assert precision.choose_for_training("cuda") == choice
        assert (precision.torch_slowness("bf16", "cuda") is None) == (choice == "bf16")

    def test_fp16_needs_a_gpu(self) -> None:
        with pytest.raises(OptionError, match="fp16 needs a GPU: pass --precision bf16 or fp32"):
            precision.torch_slowness("fp16", "cpu")


class TestCache:
    def test_what_was_measured_is_not_measured_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert measured("abacus", "1", once(QUICK)).speedup("bf16") == 2
        monkeypatch.setattr(precision, "_MEASURED", {})  # as another process
        assert measured("abacus", "1", never).seconds == QUICK

    def test_but_with_another_version_processor_or_instruction_set(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured("abacus", "1", once(QUICK))
        assert measured("abacus", "2", once(SLOW)).seconds == SLOW
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
        assert measured("abacus", "1", once(SLOW)).seconds == SLOW
        monkeypatch.setattr(precision, "processor", lambda: "Z80")
        assert measured("abacus", "1", once(SLOW)).seconds == SLOW
        assert len(list(folder.iterdir())) == 4

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: "",
            lambda text: "null",
            lambda text: "[1, 2]",
            lambda text: text[: len(text) // 2],
            lambda text: text.replace("2.0", "-1.0"),
            lambda text: text.replace("2.0", "NaN"),
            lambda text: text.replace("2.0", '"fast"'),
            lambda text: text.replace('"fp32"', '"fp33"'),
            lambda text: text.replace('"1"', '"7"'),  # a file under another's name
            lambda text: '{"seconds": 1}',
            lambda text: "\udce4",
        ],
    )
    def test_a_damaged_file_is_ignored_and_replaced(
        self, damage: Callable[[str], str], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured("abacus", "1", once(QUICK))
        (file,) = folder.iterdir()
        whole = file.read_text()
        file.write_text(damage(whole), errors="surrogateescape")
        monkeypatch.setattr(precision, "_MEASURED", {})
        assert measured("abacus", "1", once(QUICK)).seconds == QUICK
        assert file.read_text() == whole

    def test_where_nothing_can_be_written_a_process_measures_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "file"))
        measured("abacus", "1", once(QUICK))
        assert measured("abacus", "1", never).seconds == QUICK


class TestProbe:
    def test_more_work_takes_longer(self) -> None:
        def work(count: int) -> Callable[[], object]:
            return lambda: sum(range(count))

        seconds = time_interleaved(
            {"little": work(20_000), "much": work(200_000), "very much": work(2_000_000)}
        )
        assert seconds["little"] < seconds["much"] < seconds["very much"]

    def test_it_changes_nothing(self) -> None:
        before, threads = torch.get_rng_state(), torch.get_num_threads()
        precision.torch_speeds()
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == threads

    @pytest.mark.parametrize("isa", ["", "AVX512_CORE", "AVX2"])
    def test_auto_takes_what_this_processor_is_quick_in(self, isa: str) -> None:
        """By what PyTorch itself says of the processor; and with fewer instruction sets, as on another one."""
        limits = {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
        environment = {**os.environ, **limits}
        done = subprocess.run(
            [sys.executable, "-c", IN_THIS_ISA],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        choice, gain, slowness = json.loads(done.stdout)
        isa = isa or os.environ.get("ONEDNN_MAX_CPU_ISA", "")
        has_bf16 = torch.cpu._is_avx512_bf16_supported() and isa not in ("AVX512_CORE", "AVX2")  # type: ignore[attr-defined]
        if has_bf16:
            assert (choice, slowness) == ("bf16", None)
            assert gain > 1.2
        elif sys.platform == "linux" and os.uname().machine == "x86_64":
            assert choice == "fp32"
            assert gain < 0.7
            assert slowness.startswith("bf16 takes ")

    def test_only_what_trains_imports_torch(self) -> None:
        program = """
import sys
from translatekit.precision import Speeds, measured, requested_precision
requested_precision("bf16", "here"), measured("abacus", "1", lambda: {"fp32": 1.0})
assert "torch" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", program], check=True)
