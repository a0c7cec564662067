"""The page of runs in a real browser: it follows a run without losing what the reader has chosen."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from translatekit_tools.watch.server import WatchServer

from tests.pages import HOSTILE, PHONE, curves, opened, train_line
from tests.pages import make_run as make_hostile
from tests.tools.watch.test_watch import make_run

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect


@contextlib.contextmanager
def served(browser: Browser, *folders: Path, width: int = PHONE["width"]) -> Iterator[Page]:
    """The page of runs, watched for faults until the context ends."""
    with WatchServer(list(folders)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with opened(browser, server.address, {"width": width, "height": 800}) as page:
                yield page
        finally:
            server.shutdown()
            thread.join()


def drawn(page: Page) -> int:
    """How many curves there are in all charts."""
    return sum(len(curves(section)) for section in page.locator("section:has(.plot)").all())


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs of long names and unlike options."""
    first, second = (make_run(tmp_path / f"pix2pix-facades-{name}") for name in ("first", "of-another-night"))
    for run, rate, width in ((first, 0.0002, 24), (second, 0.0005, 24)):
        (run / "config.toml").write_text(
            f'method = "pix2pix"\ndata = "/photos/facades"\n[options]\nlr = {rate}\noutput = "{run}"\n'
            f"[options.generator_options]\nwidth = {width}\n"
        )
    return [first, second]


def test_the_page_follows_a_run_and_keeps_what_was_chosen(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "config.toml").write_text('method = "pix2pix"\n')
    log = tmp_path / "metrics.jsonl"
    for step in (50, 100):
        Image.new("RGB", (16, 8)).save(tmp_path / f"samples/step-{step:08d}.png")
    log.write_text(json.dumps({"kind": "train", "step": 100, "epoch": 0, "losses": {"G_L1": 3.0}}) + "\n")
    with served(browser, tmp_path) as page:
        assert page.locator(".trouble").count() == 0
        page.get_by_label("Smoothing").fill("0")
        page.locator(".viewer input").fill("0")
        page.get_by_role("button", name="later").focus()
        with log.open("a") as file:
            for step in (150, 200):
                entry = {"kind": "samples", "step": step, "epoch": 1, "diversity": {"output": 0.0}}
                file.write(json.dumps(entry) + "\n")
        page.wait_for_selector(".trouble", timeout=20000)
        assert "Dead generator" in page.locator(".trouble").inner_text()
        assert "step 50" in page.locator(".viewer output").inner_text()
        expect(page.get_by_role("button", name="later")).to_be_focused()
        expect(page.get_by_label("Smoothing")).to_have_value("0")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_phone_each_run_is_a_card_that_can_be_read(browser: Browser, runs: list[Path]) -> None:
    with served(browser, *runs) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        cards = page.locator(".runs > li")
        for card, run in zip(cards.all(), runs, strict=True):
            expect(card).to_contain_text(run.name)
            expect(card).to_contain_text("Best validation L1")
            box = card.bounding_box()
            assert box is not None
            assert box["width"] > 300
            assert box["height"] < 300
            assert card.evaluate("card => card.scrollWidth <= card.clientWidth")


def test_a_run_is_switched_off_everywhere_and_stays_off(browser: Browser, runs: list[Path]) -> None:
    with served(browser, *runs, width=1280) as page:
        both = drawn(page)
        assert both > 0
        page.locator(".runs").get_by_role("button", name=runs[0].name).click()
        expect(page.get_by_role("heading", name=f"Samples of {runs[0].name}")).to_be_hidden()
        expect(page.get_by_role("heading", name=f"Samples of {runs[1].name}")).to_be_visible()
        assert drawn(page) == both // 2
        page.reload()
        assert drawn(page) == both // 2
        for button in page.get_by_role("button", name=runs[0].name).all():
            expect(button).to_have_attribute("aria-pressed", "false")
        page.locator(".runs").get_by_role("button", name=runs[0].name).click()
        assert drawn(page) == both


def test_the_options_in_which_runs_differ_are_named_and_no_others(browser: Browser, runs: list[Path]) -> None:
    with served(browser, *runs) as page:
        table = page.get_by_role("region", name="Options in which they differ")
        assert [row.inner_text().split() for row in table.locator("tbody tr").all()] == [
            ["lr", "0.0002", "0.0005"]
        ]
    with served(browser, runs[0]) as page:
        assert page.get_by_text("Options in which they differ").count() == 0
    (runs[1] / "config.toml").write_text((runs[0] / "config.toml").read_text())
    with served(browser, *runs) as page:
        expect(page.get_by_text("they have the same options")).to_be_visible()


def test_samples_enlarge(browser: Browser, runs: list[Path]) -> None:
    with served(browser, *runs, width=1280) as page:
        page.get_by_role("button", name="Enlarge samples at step 100").last.click()
        image = page.get_by_role("dialog").get_by_role("img")
        assert "/runs/1/samples/step-00000100.png" in (image.get_attribute("src") or "")
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("step 50")


def test_hostile_names_are_shown_and_not_run_when_a_run_goes_on_either(
    browser: Browser, tmp_path: Path
) -> None:
    lines = [train_line(step, **{HOSTILE: 1.0 * step}) for step in (1, 2)]
    folders = [
        make_hostile(tmp_path / name, lines, config=f"method = '''{name} {HOSTILE}'''\n")
        for name in ("one <img src=x onerror='hacked=1'>", "other {{ 7*7 }}")
    ]
    with served(browser, *folders, width=1280) as page:
        for step in (3, 4):
            expect(page.locator("#runs")).to_contain_text(HOSTILE)
            expect(page.locator(".runs")).to_contain_text(folders[1].name)
            expect(page.locator(".options")).to_contain_text(folders[0].name)
            assert page.evaluate("window.hacked") is None
            with (folders[0] / "metrics.jsonl").open("a") as file:
                file.write(
                    json.dumps({"kind": "event", "step": step, "epoch": 0, "text": f"{step} {HOSTILE}"})
                    + "\n"
                )
            expect(page.locator(".runs")).to_contain_text(f"{step} {HOSTILE}", timeout=20_000)
