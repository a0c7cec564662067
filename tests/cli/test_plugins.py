"""``translatekit plugins``, with distributions that pip really installed: sound, broken and rude ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FAKES, pip_install, run_program, run_programs, run_python, write_fake
from translatekit.cli.template import package_files, template_files
from translatekit.errors import PluginError
from translatekit.hookspecs import HOOKS


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed all fake distributions."""
    folder = tmp_path_factory.mktemp("fakes")
    pip_install([write_fake(name, folder) for name in FAKES], folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def listing(site: Path) -> dict[str, Any]:
    """The JSON listing with all fake distributions installed."""
    result = run_program("plugins", "--json", site=site)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def find(listing: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(thing for thing in listing[kind] if thing["name"] == name)


def error_of(listing: dict[str, Any], distribution: str) -> str:
    return next(plugin["error"] for plugin in listing["broken"] if plugin["distribution"] == distribution)


def test_a_sound_plugin_is_listed_with_its_distribution(listing: dict[str, Any]) -> None:
    thing = find(listing, "generator", "goodnet")
    assert (thing["distribution"], thing["version"]) == ("fake-good", "1.2.3")
    assert thing["summary"] == "one convolution"


def test_broken_plugins_are_listed_with_the_reason_and_harm_nothing_else(listing: dict[str, Any]) -> None:
    assert {plugin["distribution"] for plugin in listing["broken"]} == {"fake-raises", "fake-typo"}
    assert "RuntimeError: no licence found" in error_of(listing, "fake-raises")
    assert "register_generator'" in error_of(listing, "fake-typo")
    assert "register_generators" in error_of(listing, "fake-typo").partition(";")[2]
    for kind, name in (("generator", "unet"), ("method", "cyclegan"), ("loss", "l1"), ("command", "train")):
        assert find(listing, kind, name)["distribution"] == "translatekit"


def test_a_name_that_two_claim_names_both(listing: dict[str, Any]) -> None:
    (conflict,) = listing["conflicts"]
    assert (conflict["kind"], conflict["name"]) == ("method", "pix2pix")
    assert conflict["distributions"] == ["fake-taker", "translatekit"]
    assert "is claimed by fake-taker and translatekit" in conflict["error"]


def test_the_listing_for_people_says_the_same(site: Path, listing: dict[str, Any]) -> None:
    result = run_program("plugins", site=site)
    assert (result.returncode, result.stderr) == (0, "")
    for kind in HOOKS:
        for thing in listing[kind]:
            assert thing["name"] in result.stdout
            assert thing["summary"] in result.stdout
    assert "fake-good 1.2.3" in result.stdout
    assert f"fake-raises 1.2.3: {error_of(listing, 'fake-raises')}" in result.stdout
    assert f"method pix2pix: {listing['conflicts'][0]['error']}" in result.stdout


def test_what_must_be_installed_first_is_listed_and_named_when_it_is_used(tmp_path: Path) -> None:
    source = write_fake("fake-wrong", tmp_path)
    plugin = source / "fake_wrong" / "plugin.py"
    requires = 'requires=("json", "no_such_module=fake-wrong[gpu]"), size_multiple=2'
    plugin.write_text(plugin.read_text().replace("size_multiple=2", requires))
    pip_install([source], tmp_path / "site")

    listing = json.loads(run_program("plugins", "--json", site=tmp_path / "site").stdout)
    assert find(listing, "generator", "halfsize")["missing"] == ["'fake-wrong[gpu]'"]
    assert find(listing, "generator", "unet")["missing"] == []
    for_people = run_program("plugins", site=tmp_path / "site").stdout
    assert "halves (needs pip install 'fake-wrong[gpu]')" in for_people
    checked = run_program("plugins", "check", "halfsize", site=tmp_path / "site")
    assert checked.returncode == 1
    assert "needs what is not installed: run pip install 'fake-wrong[gpu]'" in checked.stdout
    assert "Traceback" not in checked.stderr


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end) as pipe:
        result = subprocess.run(
            [sys.executable, "-m", "translatekit", *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert result.stderr == ""
    assert result.returncode == 1


def test_a_broken_plugin_is_mentioned_once_when_a_command_runs(site: Path) -> None:
    result = run_program("misbehave", "well", site=site)
    assert result.stdout == "did well\n"
    assert (
        result.stderr
        == "Warning: cannot use the plugins of fake-raises, fake-typo: see translatekit plugins\n"
    )


def test_help_shows_commands_of_plugins_and_no_warning(site: Path) -> None:
    result = run_program("--help", site=site)
    assert "misbehave" in result.stdout
    assert "train" in result.stdout
    assert result.stderr == ""
    assert run_program("misbehave", "--help", site=site).stderr == ""


def test_a_claimed_name_is_refused_and_other_names_work(site: Path) -> None:
    refused = run_program("train", "pix2pix", site=site)
    assert refused.returncode == 1
    assert (
        "Error: the method name 'pix2pix' is claimed by fake-taker and translatekit: "
        "pip uninstall the one you do not want\n"
    ) in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run_program("train", "cyclegan", "--help", site=site).returncode == 0


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("nowhere", "command 'nowhere' could not be imported from 'fake_good.missing:nowhere'"),
        ("notacommand", "command 'notacommand' is <class 'fake_good.net.GoodNet'>, not a click command"),
    ],
)
def test_a_command_that_cannot_be_used_is_a_sentence(site: Path, command: str, sentence: str) -> None:
    result = run_program(command, site=site)
    assert result.returncode == 1
    assert f"Error: {sentence}" in result.stderr
    assert "Traceback" not in result.stderr


def test_how_the_program_ends(site: Path) -> None:
    error = run_program("misbehave", "user-error", site=site)
    assert (error.returncode, error.stdout) == (1, "")
    assert error.stderr.splitlines()[-1] == "Error: the folder x is empty: choose another"
    assert "Traceback" not in error.stderr
    assert run_program("misbehave", "interrupt", site=site).returncode == 130
    assert run_program("misbehave", "exit", site=site).returncode == 3
    assert run_program("misbehave", "well", site=site).returncode == 0  # though the command returns 7


def test_debug_shows_the_traceback(site: Path) -> None:
    for result in (
        run_program("--debug", "misbehave", "user-error", site=site),
        run_program("misbehave", "user-error", site=site, TRANSLATEKIT_DEBUG="1"),
    ):
        assert result.returncode == 1
        assert "Traceback" in result.stderr
        assert 'raise DataError("the folder x is empty' in result.stderr


def test_check_passes_a_sound_generator(site: Path) -> None:
    result = run_program("plugins", "check", "goodnet", site=site)
    assert (result.returncode, result.stderr) == (0, "")
    assert "generator goodnet  (fake-good 1.2.3)" in result.stdout
    assert result.stdout.count("  pass  ") == len(result.stdout.splitlines()) - 1 >= 8


def test_check_refuses_a_generator_of_the_wrong_shape(site: Path) -> None:
    result = run_program("plugins", "check", "fake-wrong", site=site)  # by the name of its distribution
    assert result.returncode == 1
    assert "  FAIL  It makes images of the size it is given and the channels it was made for" in result.stdout
    assert (
        "generator 'halfsize' maps an input of shape (1, 3, 32, 32) to (1, 3, 16, 16) instead of (1, 3, 32, 32)"
        in result.stdout
    )
    assert "Traceback" not in result.stderr


def test_check_says_what_is_wrong_with_a_name(site: Path) -> None:
    for name, sentence in (
        ("fake-raises", "fake-raises is broken: importing fake_raises.plugin raised RuntimeError"),
        ("pix2pix", "the method name 'pix2pix' is claimed by fake-taker and translatekit"),
        ("fake-taker", "the method name 'pix2pix' is claimed by fake-taker and translatekit"),
        ("nonesuch", "nothing installed is called 'nonesuch'"),
    ):
        result = run_program("plugins", "check", name, site=site)
        assert result.returncode == 1
        assert f"Error: {sentence}" in result.stderr


def test_new_writes_a_package_that_installs_passes_and_trains(tmp_path: Path) -> None:
    result = run_program("plugins", "new", "my-net", cwd=tmp_path)
    assert result.returncode == 0
    assert "pip install -e" in result.stderr
    assert result.stdout == ""
    package, site = tmp_path / "translatekit-my-net", tmp_path / "site"
    written = {
        path.relative_to(package).as_posix(): path.read_text()
        for path in package.rglob("*")
        if path.is_file()
    }
    assert written == package_files("my-net")
    assert "tiny" not in "".join(written) + "".join(written.values()).lower()
    pip_install([package], site)

    listed = find(json.loads(run_program("plugins", "--json", site=site).stdout), "generator", "my-net")
    assert (listed["distribution"], listed["version"]) == ("translatekit-my-net", "0.1.0")
    tests = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests"), site=site)
    assert tests.returncode == 0, tests.stdout
    assert "12 passed" in tests.stdout

    small = [
        "-G",
        "width=8",
        "-D",
        "width=4",
        "--crop-size",
        "32",
        "--load-size",
        "32",
        "--validate-every",
        "0",
    ]
    train = ["train", "pix2pix", "--generator", "my-net", *small, "--max-steps", "2", "-o", "run"]
    printed = run_programs(["plugins", "check", "my-net"], train, site=site, cwd=tmp_path)
    assert printed.count("  pass  ") == 10, printed
    info = run_program("info", "run", "--json", site=site, cwd=tmp_path)
    assert json.loads(info.stdout)["generator"] == "my-net"
    assert json.loads(info.stdout)["step"] == 2


def test_the_template_is_the_package_of_its_own_name() -> None:
    assert package_files("tiny") == template_files()
    assert "pyproject.toml" in template_files()


@pytest.mark.parametrize("name", ["Net", "9net", "my_", "my net", "../net", "", "é"])
def test_a_name_that_no_package_can_have_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match=r"cannot be named .*: use lower-case letters"):
        package_files(name)


def test_new_overwrites_nothing_and_takes_no_name_in_use(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for arguments, sentence in (
        (("mine", "-o", "here"), "here exists already: choose another folder with -o"),
        (("unet",), "there is a generator named 'unet' already: choose another name"),
        (("tools",), "a package translatekit_tools is installed already: choose another name than 'tools'"),
        (("mine", "-o", "/dev/null/x"), "/dev/null/x could not be written (Not a directory)"),
    ):
        result = run_program("plugins", "new", *arguments, cwd=tmp_path)
        assert result.returncode == 1
        assert f"Error: {sentence}" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
