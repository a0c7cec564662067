"""The page in a real browser. Its screenshots are kept in TRANSLATEKIT_TEST_ARTEFACTS, where that is set."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.paint.batching import Batcher
from translatekit_tools.paint.models import LoadedModel
from translatekit_tools.paint.server import Limits, describe_served

from tests.tools.paint.serving import PALETTE, Flat, Negative, served, until

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Download, Page, expect

COLORS = {item["name"]: tuple(item["color"]) for item in PALETTE}
BACKGROUND, WALL, WINDOW = COLORS["background"], COLORS["wall"], COLORS["window"]
DESKTOP, PHONE = (1280, 800), (390, 844)

# The pixels of a canvas as a list of bytes; the page's policy forbids eval, so this is a function.
PIXELS = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"


@pytest.fixture(scope="module")
def model() -> Negative:
    return Negative()


@pytest.fixture(scope="module")
def url(model: Negative) -> Iterator[str]:
    with served(model, examples=Flat(BACKGROUND)) as address:
        yield address


@pytest.fixture
def shot(tmp_path: Path) -> Callable[[Page, str], None]:
    folder = Path(os.environ.get("TRANSLATEKIT_TEST_ARTEFACTS", tmp_path)) / "paint"
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png") and None


class Screen:
    """The page as a person uses it; coordinates are the drawing's pixels."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        page.on(
            "request",
            lambda request: request.url.startswith(("http", "ws")) and self.requests.append(request.url),
        )
        self.requests: list[str] = []
        page.goto(address)
        self.begin()

    def begin(self) -> None:
        """Wait until the page can be used, and shows what it begins with."""
        self.page.wait_for_selector("body[data-ready]")
        if self.page.locator("#paint").is_visible():
            self.page.wait_for_selector("#board[data-begun]")

    @property
    def translations(self) -> int:
        return int(self.page.get_attribute("#result", "data-count") or 0)

    def settle(self) -> None:
        """Wait until what is drawn has been translated."""
        self.page.wait_for_selector("#status[data-state=idle]")
        self.page.wait_for_timeout(30)
        self.page.wait_for_selector("#status[data-state=idle]")

    def pixels(self, canvas: str) -> np.ndarray:
        locator = self.page.locator(canvas)
        size = [locator.evaluate(f"canvas => canvas.{side}") for side in ("height", "width")]
        return np.array(locator.evaluate(PIXELS), np.uint8).reshape(*size, 4)[:, :, :3]

    @property
    def drawing(self) -> np.ndarray:
        return self.pixels("#board")

    @property
    def translation(self) -> np.ndarray:
        return self.pixels("#result")

    def place(self, x: float, y: float) -> tuple[float, float]:
        box: Any = self.page.locator("#overlay").bounding_box()
        return box["x"] + x / 64 * box["width"], box["y"] + y / 64 * box["height"]

    def drag(self, *points: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=3)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tool(self, name: str) -> None:
        self.page.click(f"button[data-tool={name}]")

    def color(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).click()

    def check_translation(self) -> None:
        self.settle()
        np.testing.assert_array_equal(self.translation, 255 - self.drawing)


@pytest.fixture
def screen(browser: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Screen]:
    width, height = getattr(request, "param", DESKTOP)
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=width < 800, accept_downloads=True
    )
    screen = Screen(context.new_page(), url)
    screen.settle()
    yield screen
    assert screen.faults == []
    assert all(
        address.startswith((url, f"blob:{url}")) for address in screen.requests
    )  # nothing from elsewhere
    context.close()


def saved(download: Download) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(Path(download.path()).read_bytes())).convert("RGB"))


def area(drawing: np.ndarray, color: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Left, top, right, bottom (exclusive) and number of the pixels of one colour."""
    rows, columns = np.nonzero((drawing == color).all(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, len(rows)


def test_the_canvas_has_the_models_size_and_the_palette_its_names(screen: Screen, shot: Any) -> None:
    assert screen.drawing.shape == (64, 64, 3)
    assert (screen.drawing == BACKGROUND).all()
    names = screen.page.locator("#palette [role=radio] span").all_text_contents()
    assert names == list(COLORS)
    screen.check_translation()
    expect(screen.page.locator("#latency")).to_have_text(re.compile(r"^\d+ ms$"))
    shot(screen.page, "start")


def test_brush_and_eraser_draw_in_the_palettes_colours_only(screen: Screen, shot: Any) -> None:
    screen.color("window")
    screen.drag((10, 32), (50, 32))
    left, top, right, bottom, count = area(screen.drawing, WINDOW)
    assert (top, bottom) == (30, 34)  # 4 pixels: a sixteenth of the canvas
    assert (left, right) == (8, 52)
    assert count > 4 * 40
    screen.check_translation()
    screen.tool("eraser")
    screen.drag((30, 20), (30, 50))
    assert (screen.drawing[30:34, 28:32] == BACKGROUND).all()
    assert {tuple(color) for color in screen.drawing.reshape(-1, 3)} == {WINDOW, BACKGROUND}
    screen.check_translation()
    shot(screen.page, "brush")


def test_rectangle_polygon_and_fill(screen: Screen, shot: Any) -> None:
    screen.color("wall")
    screen.tool("rectangle")
    screen.drag((40, 50), (8, 10))  # from any corner
    assert area(screen.drawing, WALL) == (8, 10, 40, 50, 32 * 40)
    screen.color("door")
    screen.tool("polygon")
    for corner in ((44, 10), (60, 10), (60, 30)):
        screen.click(*corner)
    assert not (screen.drawing == COLORS["door"]).all(2).any()
    screen.keys("Enter")
    left, top, right, bottom, _ = area(screen.drawing, COLORS["door"])
    assert (left, top, right) == (44, 10, 60)
    assert bottom in (29, 30)  # the lowest corner is narrower than a pixel
    assert 0.9 < area(screen.drawing, COLORS["door"])[4] / (16 * 20 / 2) < 1.1
    screen.color("sky")
    screen.tool("fill")
    screen.click(2, 2)
    counts = {name: int((screen.drawing == color).all(2).sum()) for name, color in COLORS.items()}
    assert counts["wall"] == 32 * 40
    assert counts["background"] == 0
    assert counts["sky"] + counts["wall"] + counts["door"] == 64 * 64
    screen.check_translation()
    shot(screen.page, "shapes")


def test_a_polygon_closes_at_its_first_corner_and_is_given_up_by_escape(screen: Screen) -> None:
    screen.keys("p", "1")
    for corner in ((10, 10), (30, 10), (30, 30), (10, 30), (10.2, 10.2)):
        screen.click(*corner)
    assert area(screen.drawing, WALL) == (10, 10, 30, 30, 400)
    before = screen.drawing
    for corner in ((40, 40), (60, 40), (60, 60)):
        screen.click(*corner)
    screen.keys("Escape", "Enter")
    np.testing.assert_array_equal(screen.drawing, before)


def test_fill_stops_at_other_colours_and_reaches_every_corner(screen: Screen) -> None:
    screen.keys("[", "[", "[", "1")
    assert screen.page.inner_text("#size-value") == "1 px"
    for start, end in (((5, 5), (58, 5)), ((58, 5), (58, 58)), ((58, 58), (5, 58)), ((5, 58), (5, 10))):
        screen.drag(start, end)
    screen.drag((10, 10), (50, 50))
    screen.keys("f", "3")
    screen.click(30, 20)  # leaks through the gap at the top left
    drawing = screen.drawing
    wall = (drawing == WALL).all(2)
    assert (drawing[~wall] == COLORS["door"]).all()
    screen.keys("Control+z", "b", "1")
    screen.drag((5, 4), (5, 12))
    screen.keys("f", "3")
    screen.click(30, 20)
    assert (screen.drawing[:4] == BACKGROUND).all()
    assert (screen.drawing[20, 30] == COLORS["door"]).all()


def test_stamps_are_the_palettes_classes(screen: Screen, shot: Any) -> None:
    screen.tool("stamp")
    labels = screen.page.locator("#stamp-menu span").all_text_contents()
    assert labels == ["Window", "Door", "Road", "Tree", "Block", "Frame", "Disc", "Gable", "Grid"]
    shot(screen.page, "stamps")
    screen.page.get_by_role("menuitemradio", name="Window").click()
    screen.drag((10, 10), (30, 40))
    left, top, right, bottom, count = area(screen.drawing, WINDOW)
    assert (top, bottom) == (10, 40)
    assert left - 10 == 30 - right <= 2
    assert count == (right - left) * 30
    screen.tool("stamp")
    screen.page.get_by_role("menuitemradio", name="Tree").click()
    screen.click(48, 30)
    box = area(screen.drawing, COLORS["tree"])
    assert abs((box[0] + box[2]) / 2 - 48) <= 1
    assert abs((box[1] + box[3]) / 2 - 30) <= 1
    screen.check_translation()


def test_without_names_there_are_generic_stamps(browser: Browser) -> None:
    unnamed: Any = [{"name": f"colour {n}", "color": item["color"]} for n, item in enumerate(PALETTE, 1)]
    with served(palette=unnamed, examples=Flat(BACKGROUND)) as address:
        page = browser.new_page()
        screen = Screen(page, address)
        labels = page.locator("#stamp-menu span").all_text_contents()
        assert labels == ["Block", "Frame", "Disc", "Gable", "Grid"]
        screen.keys("s", "3")
        screen.drag((10, 10), (30, 30))
        assert area(screen.drawing, COLORS["door"]) == (10, 10, 30, 30, 400)
        page.close()


def test_undo_and_redo_go_through_every_state(screen: Screen) -> None:
    states = [screen.drawing]
    screen.color("door")
    for tool, points in (
        ("brush", ((5, 5), (20, 20))),
        ("rectangle", ((30, 30), (60, 60))),
        ("fill", ((1, 60), (1, 60))),
    ):
        screen.tool(tool)
        screen.drag(*points)
        states.append(screen.drawing)
    assert len({state.tobytes() for state in states}) == 4
    assert screen.page.is_disabled("#redo")
    for state in reversed(states[:-1]):
        screen.page.click("#undo")
        np.testing.assert_array_equal(screen.drawing, state)
        screen.check_translation()
    assert screen.page.is_disabled("#undo")
    for state in states[1:]:
        screen.keys("Control+Shift+z")
        np.testing.assert_array_equal(screen.drawing, state)
    screen.keys("Control+z", "Control+y", "Control+z")
    np.testing.assert_array_equal(screen.drawing, states[2])
    screen.drag((50, 5), (50, 5))  # a new branch: what was undone is gone
    assert screen.page.is_disabled("#redo")
    screen.check_translation()


def test_both_sides_are_saved_as_they_are(screen: Screen) -> None:
    screen.color("tree")
    screen.drag((10, 10), (50, 40))
    screen.check_translation()
    drawing = screen.drawing
    wanted = {
        "both": ("test-model.png", np.concatenate([drawing, 255 - drawing], axis=1)),
        "drawing": ("test-model-drawing.png", drawing),
        "translation": ("test-model-translation.png", 255 - drawing),
    }
    for what, (name, pixels) in wanted.items():
        screen.page.click("#save")
        with screen.page.expect_download() as download:
            screen.page.click(f"[data-save={what}]")
        assert download.value.suggested_filename == name
        np.testing.assert_array_equal(saved(download.value), pixels)
    with screen.page.expect_download() as download:
        screen.keys("Control+s")
    np.testing.assert_array_equal(saved(download.value), wanted["both"][1])


def test_an_image_is_opened_and_snapped_to_the_palette(screen: Screen, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, len(PALETTE), (64, 64))
    colors = np.array([item["color"] for item in PALETTE])
    noisy = np.clip(colors[classes] + random.integers(-9, 10, (64, 64, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    for snaps, wanted in ((True, colors[classes]), (False, noisy)):
        if not snaps:
            screen.keys("m")
        screen.settle()
        with screen.page.expect_file_chooser() as chooser:
            screen.page.click("#open")
        before = screen.translations
        chooser.value.set_files(tmp_path / "noisy.png")
        screen.page.wait_for_function(
            "before => Number(document.getElementById('result').dataset.count) > before", arg=before
        )
        np.testing.assert_array_equal(screen.drawing, wanted)
        screen.check_translation()
    screen.keys("Control+z", "Control+z")
    assert (screen.drawing == BACKGROUND).all()
    (tmp_path / "not.png").write_text("no image")
    with screen.page.expect_file_chooser() as chooser:
        screen.keys("o")
    chooser.value.set_files(tmp_path / "not.png")
    expect(screen.page.locator("#toast")).to_contain_text("This browser cannot show not.png as a picture")


def test_the_keyboard_alone_can_draw(screen: Screen, shot: Any) -> None:
    page = screen.page
    page.focus("#overlay")
    screen.keys("2", "b", "Space")
    assert tuple(screen.drawing[32, 32]) == WINDOW
    screen.keys(
        "r", "3", "ArrowRight", "ArrowDown", "Space", *["ArrowRight"] * 5, *["ArrowDown"] * 5, "Space"
    )
    assert area(screen.drawing, COLORS["door"])[:4] in ((34, 34, 44, 44), (35, 35, 45, 45))
    shot(page, "keyboard")
    screen.keys("Delete")
    assert (screen.drawing == BACKGROUND).all()
    for key, tool in zip(
        "berpfsi", ("brush", "eraser", "rectangle", "polygon", "fill", "stamp", "pick"), strict=True
    ):
        screen.keys(key)
        assert page.get_attribute(f"button[data-tool={tool}]", "aria-checked") == "true"
    before = int(page.input_value("#size"))
    screen.keys("]")
    assert int(page.input_value("#size")) > before
    screen.keys("?")
    expect(page.locator("#help")).to_be_visible()
    shot(page, "help")
    screen.keys("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.focus("button[data-tool=pick]")
    screen.keys("ArrowRight")
    assert page.get_attribute("button[data-tool=brush]", "aria-checked") == "true"
    screen.check_translation()


def test_everything_that_can_be_used_has_a_name(screen: Screen) -> None:
    for tab in ("tab-paint", "tab-photo"):
        screen.page.click(f"#{tab}")
        for role in ("button", "radio", "slider", "combobox", "tab", "menuitem", "menuitemradio"):
            for item in screen.page.get_by_role(role, include_hidden=True).all():  # type: ignore[arg-type]
                named = item.evaluate(
                    "e => (e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent).trim()"
                )
                assert named, item.evaluate("e => e.outerHTML")


def test_the_newest_stroke_wins_and_none_between_waits_in_a_queue(browser: Browser, shot: Any) -> None:
    model = Negative()
    with served(model, examples=Flat(BACKGROUND)) as address:
        page = browser.new_page()
        screen = Screen(page, address)
        screen.settle()
        calls = len(model.batches)
        model.gate.clear()
        screen.color("window")
        page.mouse.move(*screen.place(5, 5))
        page.mouse.down()
        page.mouse.move(*screen.place(6, 25))
        until(lambda: len(model.batches) == calls + 1, "it is translated while it is drawn")
        for step in range(60):
            page.mouse.move(*screen.place(5 + step * 0.8, 5 + 20 * (step % 2)))
            page.wait_for_timeout(10)
        page.mouse.up()
        model.gate.set()
        screen.check_translation()
        assert len(model.batches) == calls + 2  # the one that was under way, and the last
        page.close()


# --- what there is to start from


@contextlib.contextmanager
def opened(browser: Browser, address: str, **context: Any) -> Iterator[Screen]:
    """The page in a context of its own, where nothing was drawn before."""
    own = browser.new_context(viewport={"width": 1280, "height": 800}, **context)
    screen = Screen(own.new_page(), address)
    screen.settle()
    yield screen
    assert screen.faults == []
    own.close()


def brush(screen: Screen) -> tuple[int, ...]:
    """The colour of the brush."""
    title = screen.page.locator("#palette [aria-checked=true]").get_attribute("title")
    assert title is not None
    return COLORS[title.split(",")[0]]


def test_it_opens_with_an_example_and_offers_more(browser: Browser) -> None:
    off = (4, 50, 250)  # what JPEG makes of the wall
    with served(examples=Flat(WALL, off, WINDOW)) as address, opened(browser, address) as screen:
        assert (screen.drawing == WALL).all()
        assert brush(screen) != WALL
        screen.check_translation()
        screen.page.get_by_role("button", name="An example").click()
        screen.settle()
        assert (screen.drawing == WALL).all()  # snapped to the palette
        screen.keys("x")
        until(lambda: (screen.drawing == WINDOW).all(), "the third example")
        screen.check_translation()
        assert brush(screen) != WINDOW
        screen.page.get_by_role("button", name="Surprise me").click()
        until(lambda: not (screen.drawing == WINDOW).all(), "a surprise")
        assert (screen.drawing[:, :32] == WALL).all()
        assert (screen.drawing[:, 32:] == WINDOW).all()
        screen.check_translation()
        screen.keys("Control+z")
        assert (screen.drawing == WINDOW).all()


def test_without_the_data_it_opens_with_a_composition_of_the_palette(browser: Browser) -> None:
    with served() as address, opened(browser, address) as screen:
        used = {tuple(color) for color in screen.drawing.reshape(-1, 3)}
        assert len(used) > 2
        assert used <= set(COLORS.values())
        screen.check_translation()
        before = screen.drawing
        screen.page.get_by_role("button", name="An example").click()
        expect(screen.page.get_by_role("alert")).to_contain_text("are not on this machine")
        screen.page.get_by_role("button", name="Surprise me").click()
        until(lambda: (screen.drawing != before).any(), "another composition")


def test_the_brush_never_has_the_colour_of_a_cleared_canvas(screen: Screen) -> None:
    assert brush(screen) != BACKGROUND
    screen.color("background")
    screen.keys("Delete")
    assert brush(screen) != BACKGROUND
    screen.click(32, 32)
    assert (screen.drawing != BACKGROUND).any()


def test_a_drawing_is_kept_over_a_reload(browser: Browser) -> None:
    with served(examples=Flat(BACKGROUND)) as address, opened(browser, address) as screen:
        screen.color("door")
        screen.drag((5, 40), (60, 12))
        drawing = screen.drawing
        for _ in range(2):
            screen.page.reload()
            screen.begin()
            np.testing.assert_array_equal(screen.drawing, drawing)
            screen.check_translation()
        assert screen.page.locator("#undo").is_disabled()
        with served(
            Negative(size=32), examples=Flat(WALL, size=32)
        ) as other:  # another model, another drawing
            screen.page.goto(other)
            screen.begin()
            assert (screen.drawing == WALL).all()


def test_an_example_that_nobody_drew_on_is_not_kept(browser: Browser) -> None:
    with served(examples=Flat(WALL)) as address, opened(browser, address) as screen:
        screen.page.reload()
        screen.begin()
        assert screen.page.evaluate("localStorage.length") == 0


def test_directions_are_switched_and_each_keeps_its_drawing(browser: Browser) -> None:
    def back() -> LoadedModel:
        batcher = Batcher(lambda: Negative(direction="BtoA", data={"palette": PALETTE}))
        described = describe_served(batcher, "test-model", PALETTE, "paint", Limits())
        return LoadedModel(batcher=batcher, description=described, examples=Flat(WINDOW))  # type: ignore[arg-type]

    with served(examples=Flat(WALL), openers={"BtoA": back}) as address, opened(browser, address) as screen:
        direction = screen.page.get_by_label("Direction")
        expect(direction).to_have_value("AtoB")
        screen.color("door")
        screen.click(32, 32)
        drawing = screen.drawing
        direction.select_option("BtoA")
        screen.page.wait_for_url("**direction=BtoA*")
        screen.begin()
        expect(direction).to_have_value("BtoA")
        assert (screen.drawing == WINDOW).all()
        screen.check_translation()
        direction.select_option("AtoB")
        screen.page.wait_for_url("**direction=AtoB*")
        screen.begin()
        np.testing.assert_array_equal(screen.drawing, drawing)
        screen.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        for name in ("#direction", "#tab-paint", "#tab-photo", "#status", "#about-button"):
            box: Any = screen.page.locator(name).bounding_box()
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= PHONE[0], name


def test_a_model_of_one_direction_offers_none(screen: Screen) -> None:
    expect(screen.page.get_by_label("Direction")).to_be_hidden()


def test_photographs_open_with_an_example_too(browser: Browser) -> None:
    with (
        served(Negative(size=32, data={}), palette=None, examples=Flat(WALL, WINDOW, size=32)) as address,
        opened(browser, address) as screen,
    ):
        until(lambda: screen.pixels("#before").shape == (32, 32, 3), "the first example")
        assert (screen.pixels("#before") == WALL).all()
        screen.page.get_by_role("button", name="Example").click()
        until(
            lambda: bool((screen.pixels("#after") == 255 - np.array(WINDOW)).all()), "the second, translated"
        )


def test_translating_while_drawing_can_be_switched_off(screen: Screen) -> None:
    screen.page.click("#live")
    before = screen.translation
    screen.color("door")
    screen.drag((10, 10), (40, 40))
    screen.page.wait_for_timeout(150)
    np.testing.assert_array_equal(screen.translation, before)
    expect(screen.page.locator("#stale")).to_be_visible()
    screen.keys("t")
    screen.check_translation()
    expect(screen.page.locator("#stale")).to_be_hidden()


@pytest.mark.parametrize("screen", [PHONE], indirect=True)
def test_it_fits_a_phone_and_is_drawn_on_with_a_finger(screen: Screen, shot: Any) -> None:
    page = screen.page
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for name in (
        "#overlay",
        "#result",
        "#palette",
        "#undo",
        "#save",
        "#live",
        "button[data-tool=pick]",
        "#about-button",
    ):
        box: Any = page.locator(name).bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= PHONE[0], name
        assert box["y"] + box["height"] <= PHONE[1], name
    assert page.locator("#overlay").bounding_box()["width"] > 280  # type: ignore[index]
    screen.color("window")
    client = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", [(10, 10)]), ("touchMove", [(50, 40)]), ("touchEnd", [])):
        touches = [dict(zip("xy", screen.place(*point), strict=True)) for point in points]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert tuple(screen.drawing[10, 10]) == WINDOW
    assert tuple(screen.drawing[25, 30]) == WINDOW
    screen.check_translation()
    shot(page, "phone")
    page.click("#tab-photo")
    shot(page, "phone-photo")
    for name in ("#photo-open", "#photo-example", "#webcam", "#photo-size", "#photo-save"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= PHONE[0], name


def test_a_picture_is_dropped_compared_and_saved(browser: Browser, tmp_path: Path, shot: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    with served(Negative(size=128, data={}), palette=None) as address:
        page = browser.new_page(accept_downloads=True)
        screen = Screen(page, address)
        expect(page.locator("#photo")).to_be_visible()
        expect(page.locator("#drop")).to_be_visible()
        shot(page, "photo-empty")
        data = (tmp_path / "photo.png").read_bytes()
        transfer = page.evaluate_handle(
            """bytes => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], "photo.png", {type: "image/png"}));
                return transfer;
            }""",
            list(data),
        )
        page.dispatch_event("#viewer", "drop", {"dataTransfer": transfer})
        page.wait_for_selector("#after[data-count]")
        np.testing.assert_array_equal(screen.pixels("#before"), pixels)
        np.testing.assert_array_equal(screen.pixels("#after"), 255 - pixels)
        expect(page.locator("#drop")).to_be_hidden()
        page.focus("#split")
        screen.keys(*["ArrowLeft"] * 5)
        assert float(page.input_value("#split")) < 50
        clip = page.locator("#after").evaluate("e => getComputedStyle(e).clipPath")
        assert page.input_value("#split") in clip
        shot(page, "photo")
        with page.expect_download() as download:
            page.click("#photo-save")
        np.testing.assert_array_equal(saved(download.value), 255 - pixels)
        assert screen.faults == []
        page.close()


def test_what_is_saved_of_the_webcam_is_no_file_that_was_open_before(
    browser: Browser, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(tmp_path / "scan.tif")
    with served(Negative(size=128, data={}), mode="photo") as address:
        context = browser.new_context(permissions=["camera"], accept_downloads=True)
        page = Screen(context.new_page(), address).page
        with page.expect_file_chooser() as chooser:
            page.click("#photo-open")
        chooser.value.set_files(tmp_path / "scan.tif")
        expect(page.locator("#after")).to_have_attribute("data-count", "1")
        page.click("#webcam")
        expect(page.locator("#after")).to_have_attribute("data-count", re.compile(r"[3-9]|\d\d+"))
        with page.expect_download() as download:
            page.click("#photo-save")
        assert download.value.suggested_filename.endswith(".png")


def test_the_webcam_is_translated_live(browser: Browser, shot: Any) -> None:
    with served(Negative(size=128, data={}), mode="photo") as address:
        context = browser.new_context(permissions=["camera"])
        screen = Screen(context.new_page(), address)
        page = screen.page
        page.click("#webcam")
        expect(page.locator("#after")).to_have_attribute("data-count", re.compile(r"[5-9]|\d\d+"))
        expect(page.locator("#latency")).to_contain_text("fps")
        shot(page, "webcam")
        page.click("#webcam")
        page.wait_for_timeout(200)
        after, before = screen.pixels("#after"), screen.pixels("#before")
        assert (
            np.abs(255 - after.astype(int) - before).mean() < 4
        )  # the frame that was translated, through JPEG
        count = page.get_attribute("#after", "data-count")
        page.wait_for_timeout(200)
        assert page.get_attribute("#after", "data-count") == count
        assert page.locator("#video").evaluate("video => video.srcObject") is None
        assert screen.faults == []
        context.close()


def test_a_servers_refusal_and_its_end_are_said(browser: Browser) -> None:
    page = browser.new_page()
    with served(hosts=None, token="secret", examples=Flat(BACKGROUND)) as address:
        page.goto(address)
        expect(page.locator("#toast")).to_contain_text("The token is missing or wrong")
        page.goto("about:blank")
        screen = Screen(page, f"{address}/#token=secret")
        screen.color("door")
        screen.drag((10, 10), (20, 20))
        screen.check_translation()
    screen.drag((10, 40), (20, 50))
    expect(page.locator("#toast")).to_contain_text("The server does not answer")
    page.close()


def test_another_page_cannot_drive_it(browser: Browser, url: str, model: Negative) -> None:
    with served() as other:
        page = browser.new_page()
        page.goto(f"{other}/health")
        before = len(model.batches)
        outcome = page.evaluate(
            """async address => {
                const tries = [
                    () => fetch(address + "/model").then(r => r.status),
                    () => fetch(address + "/translate", {method: "POST", body: "x", mode: "no-cors"}).then(r => r.type),
                    () => new Promise((ok, no) => {
                        const image = new Image();
                        image.onload = () => ok("loaded");
                        image.onerror = no;
                        image.src = address + "/model";
                    }),
                ];
                return Promise.all(tries.map(each => each().catch(() => "refused")));
            }""",
            url,
        )
        assert outcome == ["refused", "refused", "refused"]
        assert len(model.batches) == before
        page.close()
