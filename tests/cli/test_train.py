"""What ``train`` reads from the command line before it trains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from translatekit.cli import program
from translatekit.config import RunConfig, read_toml


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of a cyclegan of a folder that is not there."""
    path = tmp_path / "old" / "config.toml"
    path.parent.mkdir()
    path.write_text(RunConfig.resolve("cyclegan", tmp_path / "gone", {"crop_size": 32}).to_toml())
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        program.main(["train", *arguments], prog_name="translatekit")
    assert caught.value.code in (1, 2)
    return capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--config={}", "--config {}"])
def test_a_configuration_names_the_method_whose_options_may_follow(
    capsys: pytest.CaptureFixture[str], config: Path, flag: str
) -> None:
    given = flag.format(config).split()
    assert "there is no folder" in refused(capsys, *given, "--lambda-identity", "0", "--lr", "0.001")
    assert "--lambda-identity must be a number" in refused(capsys, *given, "--lambda-identity", "x")
    assert re.search("No such option.*--lambda-l1", refused(capsys, *given, "--lambda-l1", "3"))
    assert "/here: check the path" in refused(capsys, *given, "--lr", "0.001", "here")


def test_options_may_stand_before_the_configuration(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert "--lr must be a number above 0" in refused(capsys, "--lr", "-1", "--config", str(config))


def test_a_method_after_the_configuration_is_another_method(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    said = refused(capsys, "--config", str(config), "pix2pix", "--lambda-identity", "0")
    assert re.search("No such option.*--lambda-identity", said)


def test_a_run_names_its_method_and_refuses_another(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    run = str(config.parent)
    assert "lambda_a cannot change" in refused(capsys, "--resume", run, "--lambda-A", "1")
    assert "is a run of cyclegan: leave out pix2pix" in refused(capsys, "pix2pix", "--resume", run)
    said = refused(capsys, "--resume", run, "--config", str(config))
    assert "give one of the two" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "missing.toml"], "missing.toml cannot be read"),
        (["--resume", "missing"], "missing is not the folder of a run"),
        (["--config"], "requires an argument"),
    ],
)
def test_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, *arguments)


def test_directions_match_in_any_case() -> None:
    assert RunConfig.resolve("pix2pix", None, {"direction": "btoa"}).options.direction == "BtoA"


def test_old_configurations_with_a_direction_that_meant_nothing_can_be_read(config: Path) -> None:
    config.write_text(config.read_text().replace('direction = "AtoB"', 'direction = "BtoA"'))
    assert read_toml(config)[2]["direction"] == "BtoA"
    assert RunConfig.from_toml(config).options.direction == "AtoB"
