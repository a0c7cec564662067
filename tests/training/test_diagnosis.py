"""What is said of a run that is in trouble, and that nothing is said of one that is not."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import TINY
from translatekit import train
from translatekit.errors import TrainingError
from translatekit.training.diagnosis import Trouble, diagnose, diagnose_run

Entry = dict[str, Any]
DOCS = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
NAMES = (
    "not a number",
    "dead generator",
    "mode collapse",
    "learning rate too high",
    "discriminator too strong",
    "discriminator too weak",
    "memorizing discriminator",
    "overfitting",
)


def log(lines: int = 60, **changes: Callable[[float], float]) -> list[Entry]:
    """A healthy run's training lines; `changes` give a figure from how far the run is, in [0, 1]."""
    noise = random.Random(0)
    figures: dict[str, Callable[[float], float]] = {
        "G_GAN": lambda t: 1.0 + 0.3 * t,
        "G_L1": lambda t: 40 - 25 * t,
        "D_real": lambda t: 0.6,
        "D_fake": lambda t: 0.6,
        "real": lambda t: 0.75,
        "fake": lambda t: 0.7,
        **changes,
    }
    entries = []
    for line in range(lines):
        values = {name: figure(line / lines) * noise.uniform(0.9, 1.1) for name, figure in figures.items()}
        accuracy = {name: min(values.pop(name), 1.0) for name in ("real", "fake")}
        entries.append(
            {"kind": "train", "step": 50 * (line + 1), "epoch": 0, "losses": values, "accuracy": accuracy}
        )
    return entries


def validations(*values: float, every: int = 500) -> list[Entry]:
    return [
        {"kind": "validation", "step": every * number, "epoch": number, "metrics": {"l1": value}}
        for number, value in enumerate(values, 1)
    ]


def samplings(*values: float) -> list[Entry]:
    return [
        {"kind": "samples", "step": 100 * number, "epoch": 0, "diversity": {"output": value}}
        for number, value in enumerate(values, 1)
    ]


def names(entries: list[Entry]) -> list[str]:
    return [trouble.name for trouble in diagnose(entries)]


ROLES = {"deceit": "adversarial", "critic": "discriminator", "Gap": "reconstruction"}


def renamed(entries: list[Entry], roles: dict[str, str]) -> list[Entry]:
    """The same log of a method that calls its losses otherwise, and says what they are."""
    other = {"G_GAN": "deceit", "D_real": "critic", "G_L1": "Gap"}
    for entry in entries:
        if "losses" in entry:
            entry["losses"] = {other.get(name, name): value for name, value in entry["losses"].items()}
    return [{"kind": "roles", "step": 0, "epoch": 0, "roles": roles}, *entries]


@pytest.mark.parametrize(
    ("changes", "trouble"),
    [
        (
            {"real": lambda t: 1.2, "fake": lambda t: 1.2, "G_GAN": lambda t: 1 + 9 * t},
            "discriminator too strong",
        ),
        ({"G_L1": lambda t: 1 + 9 * t}, "learning rate too high"),
    ],
)
def test_what_losses_are_is_said_by_the_method_and_not_by_their_names(
    changes: dict[str, Callable[[float], float]], trouble: str
) -> None:
    assert names(renamed(log(**changes), ROLES)) == [trouble]
    assert names(renamed(log(**changes), {"other": "adversarial"})) == []
    # a critic whose losses are negative has no accuracy worth a word
    critic = {**changes, "D_real": lambda t: -1.0}
    assert "discriminator too strong" not in names(renamed(log(**critic), ROLES))


def test_a_healthy_run_has_no_trouble() -> None:
    assert (
        diagnose([*log(), *validations(0.5, 0.4, 0.35, 0.33, 0.34, 0.33), *samplings(0.01, 0.4, 0.9)]) == []
    )


def test_few_lines_say_nothing() -> None:
    assert diagnose(log(6, real=lambda t: 1.0, fake=lambda t: 1.0, G_GAN=lambda t: 1 + 9 * t)) == []
    assert diagnose([]) == []


def test_a_discriminator_that_is_always_right_while_the_generator_loses() -> None:
    entries = log(real=lambda t: 1.2, fake=lambda t: 1.2, G_GAN=lambda t: 1 + 6 * t)
    (trouble,) = diagnose(entries)
    assert trouble.name == "discriminator too strong"
    assert "100 %" in trouble.text
    assert "G_GAN rose" in trouble.text


def test_an_accurate_discriminator_alone_is_no_trouble() -> None:
    assert names(log(real=lambda t: 1.2, fake=lambda t: 1.2, G_GAN=lambda t: 2.0)) == []


def test_a_discriminator_that_guesses() -> None:
    assert names(log(real=lambda t: 0.5, fake=lambda t: 0.5)) == ["discriminator too weak"]


def test_a_wasserstein_critic_has_no_accuracy() -> None:
    assert names(log(real=lambda t: 0.5, fake=lambda t: 0.5, D_real=lambda t: -3.0)) == []


def test_each_of_two_discriminators_is_told_apart() -> None:
    entries = log()
    for number, entry in enumerate(entries):
        entry["losses"] = {"G_A": 1.0 + number / 20, "G_B": 0.3, "cycle_A": 1.0, "D_A": 0.01, "D_B": 0.2}
        entry["accuracy"] = {"real_D_A": 1.0, "fake_D_A": 1.0, "real_D_B": 0.7, "fake_D_B": 0.7}
    (trouble,) = diagnose(entries)
    assert trouble.name == "discriminator too strong"
    assert "D_A was right" in trouble.text
    assert "G_A rose" in trouble.text


def test_outputs_that_are_nearly_alike_are_a_collapse_and_alike_ones_a_dead_generator() -> None:
    assert names(samplings(0.5, 0.04, 0.03)) == ["mode collapse"]
    assert names(samplings(0.5, 0.0, 0.0)) == ["dead generator"]
    assert names(samplings(0.0, 0.01, 0.6)) == []
    assert names(samplings(0.03)) == []


def test_outputs_of_the_first_steps_may_be_alike() -> None:
    first = [{**entry, "step": entry["step"] // 50} for entry in samplings(0.03, 0.03)]
    assert names(first) == []


def test_validations_that_are_equal_to_the_last_digit_are_a_dead_generator() -> None:
    assert names(validations(0.5, 0.4, 0.4, 0.4)) == ["dead generator"]
    assert names(validations(0.5, 0.4, 0.4, 0.400001)) == []


def test_validation_that_worsens_while_training_improves_is_overfitting() -> None:
    (trouble,) = diagnose([*log(), *validations(0.5, 0.3, 0.35, 0.38, 0.41, 0.44)])
    assert trouble.name == "overfitting"
    assert "since step 1000" in trouble.text
    assert "0.3" in trouble.text
    worsening = log(G_L1=lambda t: 20 + 15 * t)
    assert "overfitting" not in names([*worsening, *validations(0.5, 0.3, 0.35, 0.38, 0.41, 0.44)])


def test_a_discriminator_that_does_not_know_held_out_images_memorizes() -> None:
    def looks(*shares: float) -> list[Entry]:
        return [
            {"kind": "memorization", "step": 100 * number, "epoch": number, "shares": {"D": share}}
            for number, share in enumerate(shares, 1)
        ]

    (trouble,) = diagnose(looks(0.1, 0.6, 0.7, 0.8))
    assert (trouble.name, trouble.step, trouble.first) == ("memorizing discriminator", 400, True)
    assert "by 80 % of the way" in trouble.text
    assert not diagnose(looks(0.6, 0.7, 0.8, 0.9))[0].first, "it has been said"
    assert not diagnose(looks(0.9, 0.9, 0.2, 0.9))


@pytest.mark.parametrize("level", [lambda t: 10 + 60 * t, lambda t: 5 + 60 * (int(t * 60) % 2)])
def test_a_reconstruction_loss_that_rises_or_swings_means_too_high_a_rate(
    level: Callable[[float], float],
) -> None:
    assert "learning rate too high" in names(log(G_L1=level))


def test_a_loss_or_a_metric_that_is_no_number_is_named() -> None:
    failure = {"kind": "failure", "step": 120, "epoch": 0, "loss": "G_L1", "value": "nan"}
    (trouble,) = diagnose([*log(20), failure])
    assert trouble == Trouble("not a number", 120, trouble.text)
    assert "G_L1 became nan at step 120" in trouble.text
    metrics = {"kind": "validation", "step": 9, "epoch": 0, "metrics": {"l1": float("nan")}}
    assert names([metrics]) == ["not a number"]


def test_lines_of_any_shape_are_survived(tmp_path: Path) -> None:
    lines: list[Any] = [{"kind": "train", "step": 1}, {"kind": "train", "step": 2, "losses": [1]}, [1], "x"]
    lines += [
        {"kind": "samples", "step": 3, "diversity": None},
        {"kind": 3, "step": "4"},
        {"kind": "failure", "step": 1},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kind": "tr')
    assert diagnose_run(tmp_path) == []
    assert diagnose_run(tmp_path / "nothing") == []


def test_diagnosis_needs_no_torch() -> None:
    code = "import sys, translatekit.training.diagnosis; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_trouble_is_explained(name: str) -> None:
    assert re.search(rf"^## {name}$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE)


def test_options_in_the_advice_exist() -> None:
    source = (Path(__file__).parents[2] / "translatekit" / "training" / "diagnosis.py").read_text()
    helped = subprocess.run(
        [sys.executable, "-m", "translatekit", "train", "pix2pix", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for flag in set(re.findall(r"--[a-z][a-z0-9-]+", source)):
        assert flag in helped, flag


# --- real runs


def run_with(tmp_path: Path, data: Path, **changes: Any) -> tuple[Path, TrainingError | None]:
    run = tmp_path / "run"
    error = None
    try:
        train("pix2pix", data, output=str(run), **{**TINY, "epochs": 10, "sample_every": 8, **changes})
    except TrainingError as caught:
        error = caught
    return run, error


def test_a_rate_of_a_thousand_is_seen_and_said_at_the_end_and_in_the_page(
    pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, error = run_with(tmp_path, pairs, lr=1000.0)
    found = {trouble.name for trouble in diagnose_run(run)}
    assert found & {"dead generator", "not a number"}, (found, error)
    page = (run / "index.html").read_text(encoding="utf-8")
    name = sorted(found)[0]
    assert name.capitalize() in page
    assert name in capfd.readouterr().err or error is not None


def test_a_run_that_ends_in_a_loss_that_is_no_number_leaves_why(pairs: Path, tmp_path: Path) -> None:
    run, error = run_with(tmp_path, pairs, lr=1e38)
    assert error is not None
    assert diagnose_run(run)[0].name == "not a number"
    assert "Not a number" in (run / "index.html").read_text(encoding="utf-8")


def test_a_short_healthy_run_is_left_in_peace(pairs: Path, tmp_path: Path) -> None:
    run, error = run_with(tmp_path, pairs, lr=2e-4)
    assert error is None
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(entry["diversity"]["output"] > 0 for entry in logged if entry["kind"] == "samples")
    assert {trouble.name for trouble in diagnose_run(run)} & {"dead generator", "not a number"} == set()
