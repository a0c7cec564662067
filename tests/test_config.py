from __future__ import annotations

from pathlib import Path

import pytest

from translatekit.config import RunConfig
from translatekit.errors import OptionError


@pytest.mark.parametrize("misplaced", ["lr = -1\n", "[option]\nlr = 0.1\n"])
def test_what_stands_outside_of_the_tables_of_options_is_refused(misplaced: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('method = "pix2pix"\n' + misplaced)
    with pytest.raises(
        OptionError, match=r"config.toml: '(lr|option)' would be ignored .* under \[options\]"
    ):
        RunConfig.from_toml(path)
