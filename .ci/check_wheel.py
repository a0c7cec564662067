"""Install the built wheel in environments of its own, away from the sources, and use it.

    python .ci/check_wheel.py DIST

Three environments, as people have them: the whole, which trains and compiles; one that only runs compiled models and
has no PyTorch; and one that builds engines by TensorRT-RTX, where there is neither PyTorch nor CUDA.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

PACKAGES = {
    "translatekit",
    "translatekit_pix2pix",
    "translatekit_cyclegan",
    "translatekit_cut",
    "translatekit_spade",
    "translatekit_stackgan",
    "translatekit_unsb",
    "translatekit_cgan",
    "translatekit_tools",
}
LARGEST_WITHOUT_TORCH = 300_000_000  # bytes, of all that is installed to run an .onnx
LONGEST_BUILD = 60  # seconds
DRAW = """
from pathlib import Path
from translatekit.datasets.demo import write_demo
write_demo(Path("images"), "test", 2, 32)
"""
SENTENCES = {  # what an environment that only runs .onnx says of the rest
    ("train", "pix2pix"): "'translatekit[train]'",
    ("evaluate", "model.onnx"): "'translatekit[evaluate]'",
    ("prepare", "check", "images"): "'translatekit[prepare]'",
    ("paint", "model.onnx"): "'translatekit[paint]'",
    ("demo",): "'translatekit[train]' 'translatekit[prepare]'",
    ("import", "latest_net_G.pth"): "'translatekit[train]'",
    ("sample", "run"): "'translatekit[train]'",
    ("watch", "run"): "'translatekit[train]'",
    ("plugins", "check", "unet"): "'translatekit[train]'",
    ("run", "images", "--model", "run"): "'translatekit[train]'",
    ("run", "video.mp4", "--model", "model.onnx"): "'translatekit[video]'",
    ("compile", "run", "-o", "other.onnx"): "'translatekit[compile]' 'translatekit[train]'",
    ("compile", "model.onnx", "-o", "model.xml"): "'translatekit[openvino]' 'translatekit[compile]'",
    ("compile", "model.onnx", "-o", "model.engine"): "'translatekit[tensorrt-rtx]'",
}
TINY = ["--max-steps", "2", "--crop-size", "32", "--load-size", "36", "-G", "depth=5", "-G", "width=4"]


def start(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )


def call(*command: str | Path, cwd: Path) -> str:
    done = start(*command, cwd=cwd)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{done.stderr}")
    return done.stdout


def make_environment(python: str, folder: Path, *packages: str, compiled: bool = True) -> Path:
    """The programs of a new environment, which holds these packages and what they need, and no pip.

    Args:
        python: the interpreter it is of.
        folder: where it is made.
        packages: what pip installs.
        compiled: whether all modules become bytecode now, as in most environments; otherwise each does when it is
            first imported, which is quicker by a minute where only some are used.
    """
    call(python, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
    compiling = "--compile" if compiled else "--no-compile"
    call(*pip, "install", "--quiet", "--timeout", "180", compiling, *packages, cwd=folder.parent)
    call(*pip, "check", cwd=folder.parent)
    return folder / "bin"


def check_contents(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    packages = {name for name in top if not name.endswith(".dist-info")}
    if packages != PACKAGES:
        sys.exit(f"the wheel holds {sorted(packages)}, not {sorted(PACKAGES)}")


def check_whole(wheel: Path, folder: Path) -> None:
    programs = make_environment(sys.executable, folder / "whole", f"{wheel}[all]", compiled=False)
    listed = json.loads(call(programs / "translatekit", "plugins", "--json", cwd=folder))
    print("plugins of the wheel:", json.dumps(listed)[:300], "...")
    call(programs / "translatekit", "train", "pix2pix", *TINY, "-o", "run", cwd=folder)
    call(programs / "translatekit", "compile", "run", "-o", "model.onnx", cwd=folder)
    call(programs / "python", "-c", DRAW, cwd=folder)
    call(programs / "translatekit", "run", "images", "--model", "run", "-o", "out", cwd=folder)
    translated = list((folder / "out").rglob("*.png"))
    if len(translated) < 2:
        sys.exit("the installed wheel translated nothing")
    print(f"the wheel trains, compiles and translates: {len(translated)} images")


def check_without_torch(wheel: Path, folder: Path, python: str) -> None:
    name = Path(tempfile.mkdtemp(prefix="thin-", dir=folder)).name
    programs = make_environment(python, folder / name, f"{wheel}[onnx]")
    program = programs / "translatekit"
    size = sum(file.lstat().st_size for file in (folder / name / "lib").rglob("*") if file.is_file())
    # For Python 3.10 there is only an older ONNX Runtime, which brings SymPy.
    if size > LARGEST_WITHOUT_TORCH and python == sys.executable:
        sys.exit(f"an environment that runs .onnx takes {size / 1e6:.0f} MB")
    for command in (
        ["--help"],
        ["plugins"],
        ["info", "model.onnx"],
        ["info", "run"],
        ["train", "pix2pix", "--help"],
    ):
        call(program, *command, cwd=folder)
    call(program, "run", "images", "--model", "model.onnx", "-o", f"{name}-out", cwd=folder)
    files = [sorted(path.name for path in (folder / out).rglob("*.png")) for out in ("out", f"{name}-out")]
    if not files[0] or files[0] != files[1]:
        sys.exit(f"the whole installation wrote {files[0]}, and the one without PyTorch {files[1]}")
    (folder / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    for command, extras in SENTENCES.items():
        done = start(program, *command, cwd=folder)
        *_, said = [line for line in done.stderr.splitlines() if "pip install" in line] or [done.stderr]
        if done.returncode != 1 or not said.endswith(
            f"needs what is not installed: run pip install {extras}"
        ):
            sys.exit(f"without the parts, {' '.join(command)} ends with {done.returncode} and says: {said}")
    version = call(programs / "python", "--version", cwd=folder).strip()
    print(
        f"without PyTorch, on {version}, compiled models run: {size / 1e6:.0f} MB; all else says what it needs"
    )


def check_engines(wheel: Path, folder: Path) -> None:
    if platform.machine() != "x86_64":
        print(f"TensorRT-RTX is not to be had for {platform.machine()}: no engine was built")
        return
    programs = make_environment(sys.executable, folder / "engines", f"{wheel}[tensorrt-rtx]", compiled=False)
    begin = time.monotonic()
    call(
        programs / "translatekit",
        "compile",
        "model.onnx",
        "-o",
        "model.engine",
        "--precision",
        "fp16",
        cwd=folder,
    )
    seconds = time.monotonic() - begin
    if seconds > LONGEST_BUILD or not (folder / "model.engine").stat().st_size:
        sys.exit(f"model.engine took {seconds:.0f} s")
    there = call(
        programs / "python", "-c", "import importlib.util as u; print(u.find_spec('torch'))", cwd=folder
    )
    if there.strip() != "None":
        sys.exit("the environment that builds engines has PyTorch")
    print(f"without PyTorch and CUDA, an engine was built of an .onnx in {seconds:.0f} s")


def find_python(version: str) -> str | None:
    for candidate in (
        f"python{version}",
        *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ):
        path = shutil.which(candidate)
        if path and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            return path
    return None


def main() -> None:
    wheel = max(Path(sys.argv[1]).resolve().glob("translatekit-*.whl"), key=lambda path: path.stat().st_mtime)
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as name:
        check_whole(wheel, Path(name))
        for python in filter(None, (sys.executable, find_python("3.10"))):
            check_without_torch(wheel, Path(name), python)
        check_engines(wheel, Path(name))


if __name__ == "__main__":
    main()
