"""Pages as tests meet them: parsed, or opened in a real browser that is watched for faults."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}

HOSTILE = """</script></style><img src=x onerror="window.hacked=1">'"&<!--{{ 7*7 }}"""
"""A name that breaks out of every place in a page where it is not escaped."""

_WHAT_IS_WRITTEN = """
{
  const { fillText, clearRect } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    (this.canvas.texts ??= []).push([this.textAlign, text]);
    return fillText.call(this, text, ...place);
  };
  CanvasRenderingContext2D.prototype.clearRect = function (...place) {
    this.canvas.texts = [];
    return clearRect.call(this, ...place);
  };
}
"""


class ParsedPage(HTMLParser):
    """A page's elements, its text, and the JSON in its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.data: list[Any] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            if data.startswith(("{", "[")):
                self.data.append(json.loads(data))
        elif "style" not in self._open:
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def assert_harmless(page: ParsedPage, *, shown: int) -> None:
    """`HOSTILE` is shown as the text that it is, at least so often, and has become no element and no template."""
    assert page.text.count(HOSTILE) >= shown
    assert "49" not in page.text
    assert not [image for image in page.all("img") if image.get("src") == "x" or "onerror" in image]


def train_line(step: int, **losses: float) -> dict[str, Any]:
    """A line of a run's log."""
    return {
        "kind": "train",
        "step": step,
        "epoch": step // 100,
        "losses": losses or {"G_GAN": 1.0, "G_L1": 30.0},
        "accuracy": {"real": 0.75, "fake": 0.5},
        "lr": 2e-4,
        "images_per_second": 12.5,
    }


def make_run(
    folder: Path,
    lines: Iterable[Mapping[str, Any]],
    samples: Iterable[int] = (),
    config: str = 'method = "pix2pix"\n',
    size: tuple[int, int] = (60, 40),
) -> Path:
    """The folder of a run, as a training leaves it, but for its page."""
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(config, encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in samples:
        Image.new("RGB", size, (step % 256, 0, 0)).save(folder / f"samples/step-{step:08d}.png")
    return folder


@contextlib.contextmanager
def opened(
    browser: Any, address: str, viewport: Mapping[str, int] = DESKTOP, **context: Any
) -> Iterator[Any]:
    """A page in a browser; when the context ends, nothing may have failed and nothing been asked of another host."""
    own = browser.new_context(viewport=viewport, **context)
    page = own.new_page()
    page.set_default_timeout(15_000)
    page.add_init_script(_WHAT_IS_WRITTEN)
    faults: list[str] = []
    here = address if address.startswith("http") else "file:"
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: None if request.url.startswith((here, "data:")) else faults.append(request.url),
    )
    page.goto(address)
    try:
        yield page
        assert faults == []
    finally:
        own.close()


def curves(section: Any) -> list[dict[str, Any]]:
    """What a chart draws: of each curve whether it is the raw one below a smoothed one, and its points' heights, from 0
    at the top to 1000 at the bottom."""
    found: list[dict[str, Any]] = section.locator(".plot").evaluate(
        """({ drawing }) => (drawing?.series.slice(1) ?? []).map(({ alpha }, index) => ({
            raw: alpha < 1,
            heights: drawing.data[index + 1].filter((y) => y != null)
                .map((y) => (1000 * drawing.valToPos(y, "y")) / drawing.over.clientHeight),
        }))"""
    )
    return found


def labels(section: Any, axis: str) -> list[str]:
    """What is written along a chart's axis ``x`` or ``y``."""
    written = section.locator("canvas").evaluate("canvas => canvas.texts")
    return [text for align, text in written if align == {"x": "center", "y": "right"}[axis]]
