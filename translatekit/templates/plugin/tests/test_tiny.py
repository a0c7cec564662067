"""The generator tiny keeps translatekit's contracts, and its options do what they say."""

import pytest

from translatekit.errors import OptionError
from translatekit.networks.factory import make_generator
from translatekit.testing import GeneratorContract


class TestTiny(GeneratorContract):
    """Every contract, one test each."""

    name = "tiny"
    options = {"width": 8}


def test_width_and_blocks_decide_the_size_of_the_network() -> None:
    """Two convolutions a block; text as a user types it."""
    network = make_generator("tiny", {"width": "8", "blocks": "3"}, in_channels=3, out_channels=3)
    widths = [len(weight) for name, weight in network.named_parameters() if name.endswith("body.0.weight")]
    assert widths == [8, 8, 8]


def test_a_network_without_blocks_is_refused() -> None:
    """The error names the value."""
    with pytest.raises(OptionError, match="at least 1, got 32 and 0"):
        make_generator("tiny", {"blocks": "0"}, in_channels=3, out_channels=3)
