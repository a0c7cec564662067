"""The page of a run in a real browser, opened as the file that it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.pages import DESKTOP, HOSTILE, PHONE, curves, labels, make_run, opened, train_line
from translatekit.training.report.page import write_index

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Locator, Page, expect

Show = Callable[..., Page]


def noisy(steps: int = 300) -> list[dict[str, Any]]:
    """A loss that jumps between 0 and 10 at every step, and a validation that does."""
    lines: list[dict[str, Any]] = [
        {**train_line(step, G=10.0 * (step % 2), D=1.0), "seconds": 12.0 * step}
        for step in range(1, steps + 1)
    ]
    lines += [
        {"kind": "validation", "step": 100 * i, "epoch": i, "metrics": {"l1": float(i % 2)}}
        for i in (1, 2, 3)
    ]
    return lines


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens the page of a run with the given lines in its log and samples of the given steps."""
    with ExitStack() as stack:

        def open_run(
            lines: Iterable[Mapping[str, Any]],
            samples: Iterable[int] = (),
            viewport: Mapping[str, int] = DESKTOP,
            **context: Any,
        ) -> Page:
            run = make_run(tmp_path / "run", lines, samples)
            write_index(run)
            page: Page = stack.enter_context(
                opened(browser, (run / "index.html").as_uri(), viewport, **context)
            )
            return page

        yield open_run


def chart(page: Page, title: str) -> Locator:
    return page.locator("section", has=page.get_by_role("heading", name=title, exact=True))


def heights(section: Locator, raw: bool = False) -> list[list[float]]:
    """Of the points of each curve, from 0 at the top to 1000 at the bottom."""
    return [curve["heights"] for curve in curves(section) if curve["raw"] == raw]


@pytest.mark.parametrize("losses", [{"G": 0.0}, {"G": -3.0, "D": 5.0}, {"G": 1e-12}, {"G": 1e30, "D": 1.0}])
def test_curves_of_any_level_are_drawn_inside_the_chart(show: Show, losses: dict[str, float]) -> None:
    page = show([train_line(1, **losses), train_line(2, **losses)])
    drawn = heights(chart(page, "Losses"))
    assert len(drawn) == len(losses)
    assert all(math.isfinite(y) and 0 <= y <= 1000 for curve in drawn for y in curve)
    assert labels(chart(page, "Losses"), "y")


def test_losses_are_smoothed_as_far_as_is_chosen_and_validation_never(show: Show) -> None:
    page = show(noisy())
    losses = chart(page, "Losses")

    def swing() -> float:
        curve = heights(losses)[0][100:]
        return max(curve) - min(curve)

    usual = swing()
    assert heights(losses, raw=True)
    validation = heights(chart(page, "L1"))
    slider = page.get_by_label("Smoothing")
    slider.fill(slider.get_attribute("max") or "")
    assert swing() < usual / 2
    slider.fill("0")
    assert swing() > 800
    assert heights(losses, raw=True) == []
    assert heights(chart(page, "L1")) == validation
    assert validation[0][0] < validation[0][1] > validation[0][2]


def test_the_scale_is_switched_and_kept_over_a_reload(show: Show) -> None:
    lines = [train_line(step, G=math.exp(-step / 20), D=1.0) for step in range(1, 201)]
    page = show(lines)
    button = page.get_by_role("button", name="Losses: log scale")
    expect(button).to_have_attribute("aria-pressed", "true")  # the levels are far apart
    assert "1.00e-4" in labels(chart(page, "Losses"), "y")
    for _ in range(3):  # a busy browser may forget what was stored just before a reload
        if button.get_attribute("aria-pressed") == "true":
            button.click()
        expect(button).to_have_attribute("aria-pressed", "false")
        page.reload()
        if button.get_attribute("aria-pressed") == "false":
            break
    expect(button).to_have_attribute("aria-pressed", "false")
    assert {"0", "1"} <= set(labels(chart(page, "Losses"), "y"))


def test_a_curve_is_switched_off_and_the_axis_follows_the_rest(show: Show) -> None:
    page = show([train_line(step, G=30.0, D=3.0) for step in range(1, 50)])
    losses = chart(page, "Losses")
    assert "30" in labels(losses, "y")
    button = losses.get_by_role("button", name="G 30")
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert len(heights(losses)) == 1
    assert "30" not in labels(losses, "y")
    button.press("Enter")
    assert len(heights(losses)) == 2


def test_the_axis_is_the_step_or_the_time(show: Show) -> None:
    page = show(noisy())
    losses, axis = chart(page, "Losses"), page.get_by_label("Horizontal axis")
    assert {"100", "200", "300", "step"} <= set(labels(losses, "x"))
    axis.select_option("time")
    assert {"15 min", "30 min", "45 min", "1 h", "time of training"} <= set(labels(losses, "x"))
    assert heights(chart(page, "L1")) == []  # this one logged no times


def test_without_times_there_is_only_the_step(show: Show) -> None:
    page = show([train_line(1), train_line(2)])
    expect(page.get_by_label("Horizontal axis")).to_be_disabled()
    assert labels(chart(page, "Losses"), "x") == ["step", "1", "2"]  # and none between two steps


def test_values_are_read_with_the_pointer_and_the_keyboard(show: Show) -> None:
    page = show(noisy())
    plot = chart(page, "Losses").locator(".plot")
    plot.locator(".u-over").hover()
    expect(plot.get_by_role("status")).to_contain_text("step 150, 30 min")
    page.mouse.move(0, 0)
    expect(plot.locator(".tip")).to_be_hidden()
    plot.focus()
    page.keyboard.press("ArrowLeft")
    expect(plot.get_by_role("status")).to_contain_text("step 144")  # on from where the pointer was
    page.keyboard.press("ArrowRight")
    expect(plot.get_by_role("status")).to_contain_text("step 150")


def test_a_part_is_looked_at_closely_and_the_whole_again(show: Show) -> None:
    page = show(noisy())
    losses = chart(page, "Losses")
    losses.scroll_into_view_if_needed()
    place = losses.locator("canvas").bounding_box()
    assert place is not None
    middle = place["y"] + place["height"] / 2
    page.mouse.move(place["x"] + 0.5 * place["width"], middle)
    page.mouse.down()
    page.mouse.move(place["x"] + 0.6 * place["width"], middle, steps=4)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.wide .plot').drawing.scales.x.min > 100")
    page.get_by_label("Smoothing").fill("0")  # drawn anew
    page.wait_for_function("document.querySelector('.wide .plot').drawing.scales.x.min > 100")
    losses.locator(".u-over").dblclick()
    page.wait_for_function("document.querySelector('.wide .plot').drawing.scales.x.min < 2")


def test_the_charts_follow_the_colours_of_the_system(show: Show) -> None:
    page = show(noisy(), color_scheme="light")
    drawn_in = """([red, green, blue]) => {
        const canvas = document.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
            if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) return true;
        }
        return false;
    }"""
    light, dark = [0x24, 0x57, 0xD6], [0x7E, 0xA6, 0xFF]
    page.wait_for_function(drawn_in, arg=light)
    assert not page.evaluate(drawn_in, dark)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(drawn_in, arg=dark)
    assert not page.evaluate(drawn_in, light)


def test_hostile_names_are_shown_and_not_run(show: Show) -> None:
    lines = [train_line(step, **{HOSTILE: 1.0 * step}) for step in (1, 2)]
    lines.append({"kind": "event", "step": 2, "epoch": 0, "text": HOSTILE})
    page = show(lines)
    losses = chart(page, "Losses")
    expect(losses.locator(".legend")).to_contain_text(HOSTILE)
    losses.locator(".plot").hover()
    expect(losses.locator(".tip")).to_contain_text(HOSTILE)
    losses.get_by_role("button", name=HOSTILE).click()
    assert curves(losses) == []
    assert page.evaluate("window.hacked") is None


def test_samples_enlarge_and_are_leafed_through(show: Show) -> None:
    page = show([train_line(1)], samples=(50, 100, 150))
    image = page.get_by_role("button", name="Enlarge samples at step 150")
    small = image.bounding_box()
    image.press("Enter")
    dialog = page.get_by_role("dialog")
    large = dialog.get_by_role("img").bounding_box()
    assert small is not None
    assert large is not None
    assert large["width"] >= 10 * small["width"]  # the whole factors of 60x40 that fit
    assert large["width"] % 60 == 0
    expect(dialog.get_by_role("status")).to_have_text("step 150")
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("status")).to_have_text("step 100")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(image).to_be_focused()


def test_it_fits_a_phone(show: Show) -> None:
    page = show(noisy(), samples=(50, 100), viewport=PHONE)
    for place in (0.1, 0.45, 0.9):
        plot = chart(page, "Losses").locator(".plot")
        plot.scroll_into_view_if_needed()
        where = plot.bounding_box()
        assert where is not None
        page.mouse.move(where["x"] + place * where["width"], where["y"] + 50)
        tip = plot.locator(".tip").bounding_box()
        assert tip is not None
        assert tip["x"] >= 0
        assert tip["x"] + tip["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Enlarge samples at step 100").click()
    box = page.get_by_role("dialog").get_by_role("img").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
