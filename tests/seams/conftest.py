"""Uses the small images of the training's tests."""

from tests.training.conftest import unpaired

__all__ = ["unpaired"]
