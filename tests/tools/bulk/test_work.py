"""A worker makes of named objects what `translate` makes of a folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.work import Row, Worker

from tests.tools.test_bulk import Inverting, identity
from translatekit.storage import Item, hash_file


def items(names: list[str]) -> list[Item]:
    return [Item(name, None, "") for name in names]


def inverting() -> Inverting:
    return Inverting(identity().info)


def photos(folder: Path) -> list[str]:
    """Images in folders, a file that is none, an animation; and their names."""
    rng = np.random.default_rng(0)
    names = ["a.png", "below/b.jpg", "below/deeper/c.tif"]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    (folder / "broken.png").write_bytes(b"no image")
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (0, 120, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    return [*names, "broken.png", "moving.gif"]


def test_it_makes_what_a_run_over_the_folder_makes(tmp_path: Path) -> None:
    names = photos(tmp_path / "in")
    translate(tmp_path / "in", inverting(), tmp_path / "whole")
    with Worker(
        str(tmp_path / "in"), str(tmp_path / "out"), inverting(), RunOptions(), device="cpu"
    ) as worker:
        first = list(worker.translate(items(names[:2])))
        rest = list(worker.translate(items(names[2:])))
    rows = {row.name: row for row in [*first, *rest]}
    assert [row.name for row in first] == names[:2]
    assert sorted(rows) == sorted(names)
    assert [name for name, row in rows.items() if row.outcome != "done"] == ["broken.png"]
    assert rows["broken.png"].outcome == "failed"
    assert rows["broken.png"].reason
    assert rows["below/b.jpg"].bytes_in == (tmp_path / "in/below/b.jpg").stat().st_size
    assert {name: row.video.frames for name, row in rows.items() if row.video} == {"moving.gif": 3}
    for name, row in rows.items():
        if row.outcome == "done":
            assert row.output == name
            assert hash_file(tmp_path / "out" / row.output) == hash_file(tmp_path / "whole" / name)
            assert row.bytes_out == (tmp_path / "out" / row.output).stat().st_size


def test_rows_are_small_and_travel() -> None:
    row = Row("a/b.png", "a/b.png", "failed", "it is none")
    assert pickle.loads(pickle.dumps(row)) == row
    assert len(pickle.dumps(row)) < 300
