"""A format that somebody else's package brings is one like ours, in every command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes import pip_install, run_program, run_programs, run_python, write_fake


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("format")
    pip_install([write_fake("fake-format", folder)], folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images in the folder ``train`` of a data set."""
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        (root / "train" / f"{number}.levels").write_bytes(b"LEVELS 32 32 3\n" + pixels.tobytes())
    return root


def test_it_is_listed_and_keeps_the_contracts(site: Path) -> None:
    assert "levels as bytes behind a line of text" in run_program("plugins", site=site).stdout
    checked = run_program("plugins", "check", "plainlevels", site=site)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("pass") == 3  # it writes no volumes


def test_help_imports_neither_numpy_nor_pillow(site: Path) -> None:
    code = (
        "import sys\n"
        "from translatekit.cli import main\n"
        "sys.argv = ['translatekit', 'run', '--help']\n"
        "try: main()\n"
        "finally: print(sorted({'numpy', 'PIL', 'torch', 'fake_format.files'} & set(sys.modules)))"
    )
    assert run_python("-c", code, site=site).stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_it_is_trained_on_prepared_and_translated(site: Path, images: Path, tmp_path: Path) -> None:
    size = ("--crop-size", "32", "--load-size", "32", "-G", "width=2", "-D", "width=4")
    run = tmp_path / "run"
    train = ["train", "pix2pix", images, "--dataset", "single", "--generator", "resnet", "--max-steps", "2"]
    run_programs(
        ["prepare", "check", images],
        [*train, *size, "-o", run],
        ["run", images / "train", "--model", run, "-o", tmp_path / "out"],
        site=site,
        cwd=tmp_path,
    )
    made = sorted((tmp_path / "out").glob("*.levels"))
    assert [path.name for path in made] == [f"{number}.levels" for number in range(4)]
    assert made[0].read_bytes().startswith(b"LEVELS 32 32 3\n")


def test_its_writer_is_given_levels_of_a_depth_that_it_has(site: Path) -> None:
    """Its writer puts numbers into the file as they are, and says that these are of 8 bits."""
    code = (
        "import numpy as np\n"
        "from translatekit.images import encode_image, image_of, read_image\n"
        "wanted = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)\n"
        "for deep in (wanted.astype(np.uint16) * 257, wanted / np.float32(255)):\n"
        "    again = read_image(encode_image(image_of(deep), '.levels'), suffix='.levels')\n"
        "    print(again.white, np.array_equal(again.pixels, wanted))\n"
    )
    assert run_python("-c", code, site=site).stdout.split() == ["255.0", "True"] * 2
