"""Draw docs/images/small.png: a teacher, its student, and what each takes: python docs/make_small.py FOLDER

All of it is made here, of the built-in demo's drawn facades: the teacher, the student by `translatekit distill`, and
the figures, which are those of the machine that this runs on. What lies in FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from translatekit_tools.distill import distill
from translatekit_tools.distill.verdict import machine, words_of

import translatekit
from translatekit.datasets.demo import write_demo
from translatekit.model_file import find_model, read_info

PICTURE = Path(__file__).parent / "images/small.png"
SIDE, GAP, LINE = 256, 16, 20
"""Pixels: of an image, between two, of a line of text."""

WHITE, BLACK, GRAY = (255, 255, 255), (20, 20, 20), (95, 95, 95)
FACADES = 2


def make_teacher(folder: Path, size: int, steps: int) -> Path:
    """Train the teacher."""
    if not (folder / "model.safetensors").is_file():
        translatekit.train(
            "pix2pix",
            generator="resnet",
            generator_options={"width": 64, "blocks": 9},
            load_size=size,
            crop_size=size,
            flip=False,
            max_steps=steps,
            output=str(folder),
        )
    return find_model(folder)


def make_student(folder: Path, teacher: Path, size: int, budget: str) -> dict[str, Any]:
    """Distil it; what is told of both, as `verdict.json` has it."""
    if not (folder / "verdict.json").is_file():
        distill(
            teacher,
            out=folder,
            faster=10,
            student={"width": 12, "blocks": 6},
            targets="openvino,onnxruntime",
            budget=budget,
            image_size=SIDE,
            crop_size=size,
            max_images=20,
            int8=False,
            say=print,
        )
    told: dict[str, Any] = json.loads((folder / "verdict.json").read_bytes())
    return told


def described(row: dict[str, Any], model: Path) -> list[str]:
    """Lines for people: the network, its size, its time."""
    options = read_info(model).generator_options
    lines = [
        f"{options['blocks']} blocks, width {options['width']}: {row['bytes'] / 1e6:.2g} MB in half precision"
    ]
    for name, timing in row["timings"].items():
        words = f"{timing['median'] * 1000:.3g} ms in {words_of(name)}"
        lines.append(f"{words}, {timing['faster']:.1f}x faster" if row["kind"] == "student" else words)
    return lines


def draw(columns: list[tuple[str, list[str], list[np.ndarray]]], footer: str) -> Image.Image:
    """The picture.

    Args:
        columns: a heading, lines below it, and images from top to bottom.
        footer: a sentence below all.
    """
    lines = max(len(text) for _, text, _ in columns)
    top = GAP + LINE * (1 + lines) + GAP // 2
    width = GAP + len(columns) * (SIDE + GAP)
    height = top + FACADES * (SIDE + GAP) + LINE + GAP
    sheet = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(12)
    for number, (heading, text, images) in enumerate(columns):
        left = GAP + number * (SIDE + GAP)
        pen.text((left, GAP - 4), heading, BLACK, large)
        for line, words in enumerate(text):
            pen.text((left, GAP + LINE * (1 + line)), words, GRAY, small)
        for row, pixels in enumerate(images):
            image = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(image, (left, top + row * (SIDE + GAP)))
    pen.text((GAP, height - LINE - GAP // 2), footer, GRAY, small)
    return sheet


def main() -> None:
    """Make what is missing, and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where the runs are kept")
    parser.add_argument("--size", type=int, default=128, help="pixels a side that is trained at")
    parser.add_argument("--steps", type=int, default=800, help="of the teacher")
    parser.add_argument("--budget", default="15min", help="of the student's training")
    given = parser.parse_args()
    teacher = make_teacher(given.folder / "teacher", given.size, given.steps)
    told = make_student(given.folder / "small", teacher, given.size, given.budget)
    if told["model"] is None:
        raise SystemExit(f"there is no student to show: {told['summary']}")
    student = Path(told["model"])
    rows = {row["kind"]: row for row in reversed(told["rows"])}
    inputs, _ = write_demo(given.folder / "facades", count=FACADES, size=given.size)
    labels = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(inputs.glob("*.png"))]
    columns = [("Label map", ["drawn, and seen by neither"], labels)]
    for heading, kind, path in (("Teacher", "teacher", teacher), ("Student", "student", student)):
        with translatekit.open(path, device="cpu") as model:
            images = [np.asarray(model.translate(label)) for label in labels]
        columns.append((heading, described(rows[kind], path), images))
    to_teacher = rows["student"]["to_teacher"]["psnr"]
    footer = (
        f"Times: an image of {SIDE}x{SIDE} on {machine()}, {os.cpu_count()} cores. The student is "
        f"{to_teacher['value']:.1f} dB (PSNR) from its teacher on {told['images']} unseen images."
    )
    PICTURE.parent.mkdir(exist_ok=True)
    draw(columns, footer).quantize(128).save(PICTURE, optimize=True)
    print(PICTURE, PICTURE.stat().st_size)


if __name__ == "__main__":
    main()
