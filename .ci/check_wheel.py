"""Install the built wheel in an environment of its own, away from the sources, and use it.

    python .ci/check_wheel.py DIST

Everything is used once: the list of plugins, a short training, a translation. Where a Python 3.10 is at hand, the
half that needs no torch is also tried there, with only what that half needs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGES = {
    "translatekit",
    "translatekit_pix2pix",
    "translatekit_cyclegan",
    "translatekit_cgan",
    "translatekit_tools",
}
WITHOUT_TORCH = [
    "click",
    "rich-click",
    "rich",
    "pluggy",
    "numpy",
    "pillow",
    "platformdirs",
    "tomli",
    "tomli-w",
    "tifffile",
    "imagecodecs",
]
DRAW = """
from pathlib import Path
from translatekit.datasets.demo import write_demo
write_demo(Path("images"), "test", 2, 32)
"""
TINY = ["--max-steps", "2", "--crop-size", "32", "--load-size", "36", "-G", "depth=5", "-G", "width=4"]


def call(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with status {done.returncode}")
    return done.stdout


def make_environment(python: str, folder: Path) -> Path:
    call(python, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin"


def pip(folder: Path, *arguments: str | Path) -> None:
    call(
        folder / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--timeout",
        "180",
        *arguments,
        cwd=folder.parent,
    )


def check_contents(wheel: Path) -> None:
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    packages = {name for name in top if not name.endswith(".dist-info")}
    if packages != PACKAGES:
        sys.exit(f"the wheel holds {sorted(packages)}, not {sorted(PACKAGES)}")


def check_all(wheel: Path, folder: Path) -> None:
    programs = make_environment(sys.executable, folder / "whole")
    pip(programs, wheel)
    call(programs / "pip", "check", cwd=folder)
    listed = json.loads(call(programs / "translatekit", "plugins", "--json", cwd=folder))
    print("plugins of the wheel:", json.dumps(listed)[:300], "...")
    call(programs / "translatekit", "train", "pix2pix", *TINY, "-o", "run", cwd=folder)
    call(programs / "python", "-c", DRAW, cwd=folder)
    call(programs / "translatekit", "run", "images", "--model", "run", "-o", "out", cwd=folder)
    translated = list((folder / "out").rglob("*.png"))
    if len(translated) < 2:
        sys.exit("the installed wheel translated nothing")
    print(f"the wheel trains and translates: {len(translated)} images")


def check_without_torch(wheel: Path, folder: Path) -> None:
    python = find_python("3.10")
    if python is None:
        print("no Python 3.10 here: the half without torch was not tried on it")
        return
    programs = make_environment(python, folder / "light")
    pip(programs, *WITHOUT_TORCH)
    pip(programs, "--no-deps", wheel)
    for command in (
        ["--help"],
        ["plugins"],
        ["run", "--help"],
        ["train", "pix2pix", "--help"],
        ["info", "run"],
    ):
        call(programs / "translatekit", *command, cwd=folder)
    print("the half without torch works on Python 3.10")


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
        check_all(wheel, Path(name))
        check_without_torch(wheel, Path(name))


if __name__ == "__main__":
    main()
