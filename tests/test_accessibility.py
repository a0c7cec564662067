"""Every page of ours as axe-core sees it: keyboard, contrast, names. TRANSLATEKIT_TEST_AXE names its axe.min.js."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pages import DESKTOP, PHONE, make_run, train_line

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("jinja2", reason="jinja2 is not installed")

SERIOUS = {"serious", "critical"}
SCHEMES = [("light", DESKTOP), ("dark", PHONE)]

Look = Callable[..., None]


@pytest.fixture(scope="module")
def axe() -> str:
    path = os.environ.get("TRANSLATEKIT_TEST_AXE")
    if not path or not Path(path).is_file():
        pytest.skip("TRANSLATEKIT_TEST_AXE names no axe.min.js of npm's axe-core")
    return Path(path).read_text(encoding="utf-8")


@pytest.fixture(params=SCHEMES, ids=[scheme for scheme, _ in SCHEMES])
def look(request: pytest.FixtureRequest, browser: Any, axe: str) -> Iterator[Look]:
    """Opens a page and finds nothing serious in it, as it is and after each of some steps."""
    scheme, viewport = request.param
    with contextlib.ExitStack() as stack:

        def look_at(address: str, ready: str, *steps: Callable[[Any], None]) -> None:
            # Our pages' policies let nothing else run in them, and the checker is nothing of theirs.
            context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(address, wait_until="commit")
            page.wait_for_selector(ready, state="attached")
            page.evaluate(axe)
            for step in (lambda page: None, *steps):
                step(page)
                found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
                assert [told(one) for one in found["violations"] if one["impact"] in SERIOUS] == []

        yield look_at


def told(violation: dict[str, Any]) -> str:
    where = "; ".join(
        f"{node['html'][:120]} ({node['failureSummary'][:200]})" for node in violation["nodes"][:3]
    )
    return f"{violation['id']}: {violation['help']}: {where}"


def press(*keys: str) -> Callable[[Any], None]:
    def step(page: Any) -> None:
        for key in keys:
            page.keyboard.press(key)

    return step


def click(selector: str) -> Callable[[Any], None]:
    return lambda page: page.click(selector)


def test_the_painting_page(look: Look) -> None:
    pytest.importorskip("starlette", reason="starlette is not installed")
    from tests.tools.paint.serving import Flat, served

    with served(examples=Flat((20, 20, 130))) as address:
        look(
            address,
            "#board[data-begun]",
            click("#about-button"),
            press("Escape", "?"),
            press("Escape", "s"),
            click("button[data-tool=stamp]"),
            press("Escape"),
            click("#save"),
            press("Escape", "v"),
        )


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published page, whose runtime is never started."""
    from translatekit_tools.publish import publish

    from tests.tools.publish.graphs import write_graph
    from tests.tools.publish.test_runtime import archive, package

    folder = tmp_path_factory.mktemp("published")
    (folder / "runtime.tgz").write_bytes(archive(package()))
    model = write_graph(folder / "small.onnx")
    publish(
        model,
        folder / "page.html",
        single=True,
        web_runtime=str(folder / "runtime.tgz"),
        check="no",
        title="Walls",
        licence="CC-BY-4.0",
        description="Walls of labels.",
    )
    return folder / "page.html"


def test_a_published_page(look: Look, one_file: Path) -> None:
    look(one_file.as_uri(), "#board[data-begun]", click("#about-button"), press("Escape", "v"))


def test_the_page_of_a_run(look: Look, tmp_path: Path) -> None:
    from translatekit.training.report.page import write_index

    lines = [{**train_line(step, G=float(step % 7), D=1.0), "seconds": 12.0 * step} for step in range(1, 60)]
    lines.append({"kind": "validation", "step": 50, "epoch": 1, "metrics": {"l1": 0.3}})
    run = make_run(tmp_path / "run", lines, samples=(10, 20))
    write_index(run)
    look((run / "index.html").as_uri(), ".plot canvas")


def test_the_page_of_runs(look: Look, tmp_path: Path) -> None:
    from translatekit_tools.watch.server import WatchServer

    for name in ("first", "second"):
        lines = [{**train_line(step, G=float(step % 7)), "seconds": 12.0 * step} for step in range(1, 60)]
        make_run(tmp_path / name, lines, samples=(10,))
    with WatchServer([tmp_path / "first", tmp_path / "second"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            look(server.address, ".plot canvas")
        finally:
            server.shutdown()
            thread.join()


def test_the_report_of_an_evaluation(look: Look, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed")
    from translatekit_tools.evaluate.page import write_report

    from tests.tools.evaluate.test_page import evaluation

    write_report(tmp_path / "page.html", evaluation("facades"))
    look((tmp_path / "page.html").as_uri(), "main")


def test_the_index_of_a_demo(look: Look, tmp_path: Path) -> None:
    from translatekit_tools.gallery import GalleryRow, write_gallery

    image = tmp_path / "a.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(image)
    rows = [GalleryRow(name="facade 1", images={"input": image, "output": image}, figures={"L1": "0.2"})]
    write_gallery(
        tmp_path / "index.html",
        rows,
        "Facades",
        {"L1": "0.2", "time": "61 s"},
        summary="Trained in a minute.",
        links={"the evaluation": image},
        commands={"Paint": "translatekit paint runs/demo"},
    )
    look((tmp_path / "index.html").as_uri(), "main")


def test_the_page_of_a_study(look: Look, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from translatekit_tools.tune.page import write_page

    space = {"lr": FloatDistribution(1e-5, 1e-2, log=True), "flip": CategoricalDistribution([True, False])}
    trials = []
    for number in range(6):
        failed = number == 5
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
            value=None if failed else 0.5 / (number + 1),
            params={"lr": 1e-5 * 3**number, "flip": number % 2 == 0},
            distributions=space,
            intermediate_values={1: 0.6, 2: 0.5 / (number + 1)},
            user_attrs={"error": "the loss D is nan at step 7 <b>"} if failed else {},
        )
        trial.number = number
        trials.append(trial)
    write_page(
        tmp_path / "index.html",
        method="pix2pix",
        data="facades",
        metric="l1",
        lower_is_better=True,
        trials=trials,
        importance={"lr": 0.8, "flip": 0.2},
        space="lr = {low = 1e-5}",
    )
    look((tmp_path / "index.html").as_uri(), ".plot canvas", click("summary"))
