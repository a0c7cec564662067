"""The page of an evaluation: one file in which every name is only a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.evaluate.page import error_map, write_report
from translatekit_tools.evaluate.result import ClassScore, Evaluation, Example, ModelResult
from translatekit_tools.evaluate.statistics import Estimate

from tests.pages import DESKTOP, HOSTILE, PHONE, ParsedPage, assert_harmless, opened


def evaluation(name: str = HOSTILE) -> Evaluation:
    """Of two models, with names that come from folders, files, palettes and headers."""
    pixels = np.full((24, 32, 3), 90, np.uint8)
    models = [
        ModelResult(
            f"{number} {name}",
            name,
            5,
            metrics={"l1": Estimate(0.2, 0.1, 0.3), name: Estimate(1.0, None, None)},
            differences={"l1": Estimate(0.01, -0.1, 0.1)} if number else {},
            classes=[ClassScore(name, 0.5, 0.25, 0.125)],
        )
        for number in range(2)
    ]
    outputs = {model.name: pixels for model in models}
    examples = [
        Example(name, rank, pixels, outputs, pixels + 40, {"l1": 0.2, name: 1.0})
        for rank in ("best", "worst")
    ]
    return Evaluation(name, name, 2, models, examples, [name])


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    write_report(tmp_path / "page.html", evaluation())
    page = ParsedPage((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert_harmless(page, shown=20)
    assert len(page.all("img")) == 2 * 6
    assert all(f"{HOSTILE}: " in (image["alt"] or "") for image in page.all("img"))
    assert f"classes of 0 {HOSTILE}" in [element.get("aria-label") for element in page.all("div")]


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_opens_by_itself_and_fits(browser: Any, tmp_path: Path, viewport: dict[str, int]) -> None:
    write_report(tmp_path / "page.html", evaluation("a_long_name_of_a_model_in_a_folder"))
    with opened(browser, (tmp_path / "page.html").as_uri(), viewport) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.get_by_role("img").or_(page.get_by_role("button", name="Enlarge")).first.click()
        assert page.get_by_role("dialog").get_by_role("status").inner_text().endswith(": input")


def test_an_error_map_is_black_where_nothing_is_wrong() -> None:
    pixels = np.full((2, 2, 3), 90, np.uint8)
    assert error_map(pixels, pixels).max() <= 4
