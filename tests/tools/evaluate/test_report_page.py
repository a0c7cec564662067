"""The report of an evaluation in a real browser, opened as the file that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.evaluate.page import write_report
from translatekit_tools.evaluate.result import Evaluation, Example, ModelResult

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect


def write(path: Path, models: int = 1) -> str:
    random = np.random.default_rng(0)
    names = ["first", "second", "third"][:models]

    def image() -> np.ndarray:
        return random.integers(0, 256, (32, 48, 3), np.uint8)

    examples = [
        Example(f"facade-{number}", rank, image(), {name: image() for name in names}, image(), {"l1": 0.1})
        for number, rank in enumerate(("best", "worst"))
    ]
    results = [ModelResult(name, f"runs/{name}", 100) for name in names]
    write_report(path, Evaluation("facades", "val", 2, results, examples))
    return path.as_uri()


def box(page: Page, label: str) -> Any:
    return page.get_by_role("button", name=f"Enlarge {label}", exact=True).bounding_box()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("models", [1, 2, 3])
def test_each_error_map_stands_right_of_its_output(
    browser: Browser, tmp_path: Path, width: int, models: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(write(tmp_path / "page.html", models))
    pairs = [("output", "error")] if models == 1 else []
    pairs = pairs or [(name, f"error of {name}") for name in ("first", "second", "third")[:models]]
    for output, error in [("input", "target"), *pairs]:
        left, right = (box(page, f"facade-0: {title}") for title in (output, error))
        assert left["y"] == pytest.approx(right["y"], abs=1)
        assert left["width"] == pytest.approx(right["width"], abs=1)
        assert 0 < right["x"] - (left["x"] + left["width"]) < 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_an_image_enlarges_and_the_arrows_lead_to_its_target_and_error(
    browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(write(tmp_path / "page.html"))
    page.get_by_role("button", name="Enlarge facade-1: output").click()
    caption = page.get_by_role("dialog").get_by_role("status")
    expect(caption).to_have_text("facade-1: output")
    assert page.get_by_role("dialog").get_by_role("img").bounding_box()["width"] > 48 * 10  # type: ignore[index]
    page.keyboard.press("ArrowRight")
    expect(caption).to_have_text("facade-1: error")
    page.keyboard.press("ArrowRight")
    expect(caption).to_have_text("facade-1: input")
    page.get_by_role("button", name="close").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.close()
