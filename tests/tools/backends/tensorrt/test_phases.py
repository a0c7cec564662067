"""The progress of a build."""

from __future__ import annotations

import pytest
from translatekit_tools.backends.tensorrt.phases import Phases


def test_nested_phases_are_one_share() -> None:
    told: list[tuple[str, float | None]] = []
    phases = Phases(lambda text, share: told.append((text, share)))
    phases.start("build", None, 2)
    phases.start("layers", "build", 4)
    assert phases.step("layers", 0)
    assert phases.step("layers", 1)
    phases.finish("layers")
    assert phases.step("build", 0)
    phases.start("tactics", "build", 10)
    phases.step("tactics", 4)
    phases.finish("tactics")
    phases.step("build", 1)
    phases.finish("build")
    assert told == [("build", share) for share in (0.0, 0.0, 0.125, 0.25, 0.5, 0.5, 0.75, 1.0)]


def test_phases_that_nobody_started_do_no_harm() -> None:
    phases = Phases(lambda text, share: None)
    phases.start("orphan", "nobody", 0)
    assert phases.step("stranger", 3)
    phases.finish("stranger")


def test_an_interrupt_stops_the_build_and_is_kept() -> None:
    def interrupt(text: str, share: float | None) -> None:
        raise KeyboardInterrupt

    phases = Phases(interrupt)
    phases.start("build", None, 2)
    assert not phases.step("build", 0)
    with pytest.raises(KeyboardInterrupt):
        raise phases.error  # type: ignore[misc]
