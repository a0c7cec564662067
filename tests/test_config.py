from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from translatekit.config import RunConfig
from translatekit.errors import OptionError
from translatekit.registry import registry


@pytest.mark.parametrize("misplaced", ["lr = -1\n", "[option]\nlr = 0.1\n"])
def test_what_stands_outside_of_the_tables_of_options_is_refused(misplaced: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('method = "pix2pix"\n' + misplaced)
    with pytest.raises(
        OptionError, match=r"config.toml: '(lr|option)' would be ignored .* under \[options\]"
    ):
        RunConfig.from_toml(path)


def test_a_method_whose_own_dataset_draws_images_is_trained_on_these(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets, methods = registry("dataset"), registry("method")
    demo, pix2pix = datasets.entry("demo"), methods.entry("pix2pix")
    drawn = replace(demo, spec=replace(demo.spec, name="drawn"))
    monkeypatch.setitem(datasets._claims, "drawn", [drawn])
    assert RunConfig.resolve("pix2pix", None, {}).options.dataset == "demo"
    own = replace(pix2pix, spec=replace(pix2pix.spec, name="mine", dataset="drawn"))
    monkeypatch.setitem(methods._claims, "mine", [own])
    assert RunConfig.resolve("mine", None, {}).options.dataset == "drawn"
