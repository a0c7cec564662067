"""What native libraries write to stderr."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from translatekit.cli.natives import natives_are_silent
with natives_are_silent():
    os.write(2, b"native within\\n")
    print("ours within", file=sys.stderr)
os.write(2, b"native after\\n")
print("ours after", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("debug", "expected"),
    [
        ("0", ["ours within", "native after", "ours after"]),
        ("1", ["native within", "ours within", "native after", "ours after"]),
    ],
)
def test_it_is_silent_within_but_for_debugging(debug: str, expected: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TRANSLATEKIT_DEBUG": debug},
    )
    assert result.stderr.splitlines() == expected
