"""``translatekit run`` as a user meets it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.manifest import MANIFEST_NAME

from translatekit.errors import ModelFileError, OptionError
from translatekit.images import encode_image, image_of
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator


def save(path: Path, seed: int = 0, **info: Any) -> Path:
    torch.manual_seed(seed)
    network = make_generator("unet", {"depth": 6, "width": 2}, in_channels=3, out_channels=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    info = {"norm_inference": "per_image", **info}
    save_model(
        path,
        network.state_dict(),
        ModelInfo(
            method="test",
            generator="unet",
            generator_options=network.arguments,  # type: ignore[arg-type]
            size_multiple=network.size_multiple,  # type: ignore[arg-type]
            **info,
        ),
    )
    return path


def images(folder: Path, count: int, height: int = 40, width: int = 56) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png", compress_level=0)
    return folder


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "translatekit", "run", *map(str, arguments)]


def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "model.safetensors")


def test_a_folder_is_translated_and_a_rerun_does_nothing(model: Path, tmp_path: Path) -> None:
    source, out = images(tmp_path / "in", 5), tmp_path / "out"
    first = run(source, "--model", model, "-o", out)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == [str(out / f"{number:03}.png") for number in range(5)]
    assert "Translated 5" in first.stderr
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with Image.open(out / "000.png") as result:
        assert result.size == (56, 40)
    again = run(source, "--model", model, "-o", out)
    assert (again.returncode, again.stdout) == (0, "")
    assert "skipped 5" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times


def test_json_is_all_of_stdout_and_one_bad_file_makes_the_status_1(model: Path, tmp_path: Path) -> None:
    source, out = images(tmp_path / "in", 2), tmp_path / "out"
    (source / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    result = run(source, "-m", model, "-o", out, "--json")
    assert result.returncode == 1
    summary = json.loads(result.stdout)
    assert summary["translated"] == 2
    assert summary["outputs"] == [str(out / "000.png"), str(out / "001.png")]
    assert [entry["path"] for entry in summary["failed"]] == [str(source / "bad.jpg")]
    assert f"{source / 'bad.jpg'}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_another_input_model_or_option_is_done_again(model: Path, tmp_path: Path) -> None:
    source, out = images(tmp_path / "in", 3), tmp_path / "out"

    def counts(model: Path, **options: Any) -> tuple[int, int]:
        summary = translate(source, model, out, **options)
        return summary.translated, summary.skipped

    assert counts(model) == (3, 0)
    Image.new("RGB", (20, 20)).save(source / "001.png")
    assert counts(model) == (1, 2)
    (out / "002.png").unlink()
    assert counts(model) == (1, 2)
    assert counts(model, batch_size=2, device="cpu") == (0, 3)
    assert counts(model, size=32) == (3, 0)
    other = save(tmp_path / "other.safetensors", seed=1)
    assert counts(other, size=32) == (3, 0)
    assert counts(other, size=32) == (0, 3)
    assert counts(other, size=32, force=True) == (3, 0)


def test_a_killed_run_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    source, out = images(tmp_path / "in", 40, 256, 256), tmp_path / "out"
    process = subprocess.Popen(
        command(source, "-m", model, "-o", out), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    done = len(list(out.glob("*.png")))
    assert 0 < done < 40
    with (out / MANIFEST_NAME).open("ab") as manifest:
        manifest.write(b'{"input": "torn')
    result = run(source, "-m", model, "-o", out, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["skipped"], summary["translated"]) == (done, 40 - done)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [MANIFEST_NAME, *(path.name for path in source.iterdir())]
    )
    assert json.loads(run(source, "-m", model, "-o", out, "--json").stdout)["skipped"] == 40


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_leaves_whole_files_and_says_how_to_go_on(
    model: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    source, out = images(tmp_path / "in it's", 40, 256, 256), tmp_path / "out"
    process = subprocess.Popen(
        command(source, "-m", model, "-o", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in stderr
    written = [path for path in out.iterdir() if path.name != MANIFEST_NAME]
    assert 0 < len(written) < 40
    for path in written:
        with Image.open(path) as image:
            image.load()
    rerun = stderr.partition("To go on: ")[2].strip()
    assert rerun == shlex.join(command(source, "-m", model, "-o", out))
    result = subprocess.run([*shlex.split(rerun), "--json"], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["skipped"] == len(written)


def test_a_runs_folder_has_its_best_model_and_its_directions(tmp_path: Path) -> None:
    source, folder = images(tmp_path / "in", 1), tmp_path / "run"
    save(folder / "model.safetensors", 0, direction="AtoB")
    save(folder / "model_BtoA.safetensors", 1, direction="BtoA")
    save(folder / "best.safetensors", 2, direction="AtoB")
    choices: dict[str, dict[str, Any]] = {
        "main": {},
        "AtoB": {"direction": "AtoB"},
        "BtoA": {"direction": "BtoA"},
        "best": {"best": True},
    }
    outputs = {}
    for name, options in choices.items():
        (output,) = translate(source, folder, tmp_path / name, **options).outputs
        outputs[name] = output.read_bytes()
    assert outputs["main"] == outputs["AtoB"]
    assert len(set(outputs.values())) == 3
    with pytest.raises(ModelFileError, match="no generator sideways: it has AtoB, BtoA"):
        translate(source, folder, tmp_path / "x", direction="sideways")
    with pytest.raises(OptionError, match="translates AtoB, not BtoA"):
        translate(source, folder / "model.safetensors", tmp_path / "x", direction="BtoA")
    assert translate(source, folder / "model.safetensors", tmp_path / "y", direction="atob").translated == 1
    assert translate(source, folder, tmp_path / "z", direction="atob", best=True).translated == 1
    with pytest.raises(ModelFileError, match=r"the best models in .* have no generator BtoA: there is AtoB"):
        translate(source, folder, tmp_path / "x", direction="BtoA", best=True)


def test_noise_is_seeded(model: Path, tmp_path: Path) -> None:
    source = images(tmp_path / "in", 3)
    for name, seed, batch in (("a", 1, 3), ("b", 1, 1), ("c", 2, 3)):
        translate(source, model, tmp_path / name, noise=seed, batch_size=batch)
    a, b, c = ((tmp_path / name / "002.png").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in"], "no model is given: pass --model"),
        (["in", "-m", "none.safetensors"], "no model none.safetensors"),
        (["in", "-m", "in/000.png"], "no installed backend runs '.png' files"),
        (["nowhere", "-m", "MODEL"], "no file or folder nowhere"),
        (["in", "-m", "MODEL", "--device", "cuda:77"], "'cuda:77' is not available here"),
        (["in", "-m", "MODEL", "--precision", "fp16", "--device", "cpu"], "fp16 needs a GPU"),
        (["in", "-m", "MODEL", "--size", "big"], "--size must be SIDE or WIDTHxHEIGHT"),
        (
            ["in", "-m", "MODEL", "--quality", "most"],
            "--quality must be a whole number from 1 to 100, got 'most'",
        ),
        (["in", "-m", "MODEL", "--best"], "--best chooses among a run's models"),
    ],
)
def test_a_mistake_is_one_sentence(model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    images(tmp_path / "in", 1)
    result = run(*(str(model) if word == "MODEL" else word for word in arguments), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_dry_run_imports_no_torch_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    source = images(tmp_path / "in", 2)
    script = (
        "import sys; from translatekit.cli import program\n"
        "try: program.main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    arguments = ["run", str(source), "-m", str(model), "--dry-run"]
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert len(result.stdout.split()) == 2
    assert "Would translate 2" in result.stderr
    assert result.stderr.endswith("False\n")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_help_imports_neither_torch_nor_numpy() -> None:
    script = (
        "import sys; from translatekit.cli import program\n"
        "try: program.main(['run', '--help'])\n"
        "finally: print(sorted({'torch', 'numpy', 'PIL', 'timm'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr.endswith("[]\n")
    for flag in ("--model", "--output", "--fit", "--noise", "--dry-run", "--batch-size"):
        assert flag in result.stdout


def test_plain_progress_is_lines_on_stderr(model: Path, tmp_path: Path) -> None:
    result = run(images(tmp_path / "in", 2), "-m", model)
    assert "\x1b" not in result.stderr + result.stdout
    assert (tmp_path / "in-translated/001.png").exists()


def test_outputs_beside_their_inputs_are_no_inputs_of_the_next_run(model: Path, tmp_path: Path) -> None:
    source = images(tmp_path / "in", 2)
    for _ in range(2):
        assert run(*sorted(source.glob("*.png")), "-m", model).returncode == 0
    assert sorted(path.name for path in source.glob("*.png")) == [
        "000-translated.png",
        "000.png",
        "001-translated.png",
        "001.png",
    ]


def test_names_that_are_no_text_are_printed(model: Path, tmp_path: Path) -> None:
    source = images(tmp_path / "in", 1)
    name = b"latin\xe9.png"
    (source / "000.png").rename(source / os.fsdecode(name))
    shutil.copy(__file__, source / os.fsdecode(b"bad\xe9.png"))
    result = subprocess.run(
        command(source, "-m", model, "-o", tmp_path / "out"), capture_output=True, check=False
    )
    assert result.returncode == 1
    assert result.stdout.strip().endswith(name)
    assert b"Traceback" not in result.stderr


def test_decoders_own_remarks_are_not_shown(model: Path, tmp_path: Path) -> None:
    source = images(tmp_path / "in", 1)
    data = bytearray(encode_image(image_of(np.random.default_rng(0).random((40, 56, 3), np.float32)), ".png"))
    data[len(data) // 2] ^= 255  # of which libpng says "IDAT: CRC error" on the process's stderr
    (source / "deep.png").write_bytes(data)
    result = run(source, "-m", model, "-o", tmp_path / "out")
    assert result.returncode == 1
    ours = (f"{source / 'deep.png'}: the image cannot be read", "Translated 1, 1 failed", "1/2", "2/2")
    assert [line for line in result.stderr.splitlines() if not line.startswith(ours)] == []


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_on_a_terminal_names_stand_above_the_bar(model: Path, tmp_path: Path) -> None:
    import pty

    source, out = images(tmp_path / "in", 2), tmp_path / "out"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        command(source, "-m", model, "-o", out), stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 2**16):
            shown += data
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(ours)
    assert process.wait(60) == 0
    lines = [line.rpartition(b"\x1b[2K")[2] for line in shown.replace(b"\r", b"").split(b"\n")]
    assert any(b"Translating" in line for line in lines)
    named = [line for line in lines if b".png" in line]
    assert named == [os.fsencode(out / f"00{number}.png") for number in range(2)]
