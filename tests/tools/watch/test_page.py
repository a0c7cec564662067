"""The page of runs in a real browser: it follows a run without losing what the reader has chosen."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image
from translatekit_tools.watch.server import WatchServer

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_follows_a_run_and_keeps_the_sample_that_was_chosen(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "config.toml").write_text('method = "pix2pix"\n')
    log = tmp_path / "metrics.jsonl"
    for step in (50, 100):
        Image.new("RGB", (16, 8)).save(tmp_path / f"samples/step-{step:08d}.png")
    log.write_text(json.dumps({"kind": "train", "step": 100, "epoch": 0, "losses": {"G_L1": 3.0}}) + "\n")
    with WatchServer([tmp_path]) as server, playwright.sync_playwright() as started:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(server.address)
        assert page.locator(".trouble").count() == 0
        page.locator(".viewer input").fill("0")
        with log.open("a") as file:
            for step in (150, 200):
                entry = {"kind": "samples", "step": step, "epoch": 1, "diversity": {"output": 0.0}}
                file.write(json.dumps(entry) + "\n")
        page.wait_for_selector(".trouble", timeout=20000)
        assert "Dead generator" in page.locator(".trouble").inner_text()
        assert "step 50" in page.locator(".viewer output").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert errors == []
        browser.close()
        server.shutdown()
