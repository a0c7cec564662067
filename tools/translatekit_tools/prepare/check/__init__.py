"""What a careful person looks at before training: the files, the pairs, the classes, and a sheet of all of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from translatekit.errors import DataError
from translatekit.images import encode_image, image_of
from translatekit.storage import write_atomically
from translatekit_tools.prepare.check.findings import (
    check_alignment,
    check_classes,
    check_copies,
    check_meaning,
    check_sizes,
)
from translatekit_tools.prepare.check.items import Item, find_items, side_of
from translatekit_tools.prepare.check.look import Looked, find_palettes, look_at
from translatekit_tools.prepare.check.report import Finding, Report
from translatekit_tools.prepare.check.sheet import contact_sheet
from translatekit_tools.prepare.check.values import check_values, parse_bounds, ranges_of
from translatekit_tools.prepare.options import CheckOptions
from translatekit_tools.prepare.output import Output
from translatekit_tools.prepare.work import Progress, attempt_all

__all__ = ["Finding", "Report", "check_data"]


def check_data(data: Path, options: CheckOptions, progress: Progress | None = None) -> Report:
    """Look at every image of a dataset.

    Errors are unreadable files, files without partner or of one name, pairs of two sizes or of two places on the earth,
    images without any data, and images that are in two splits. Warnings are near-duplicates, sizes and kinds unlike
    the others', images that are small or empty, values that are missing, saturated or outside of a range, pairs that
    do not align, rare classes, and what training says of images that it would take for something else than they are.

    Args:
        data: a folder as the datasets read it.
        options: what its images are, and what to write.
        progress: is told how far it is.

    Raises:
        DataError: no images, or a sheet that may not be written.
    """
    data = data.expanduser()
    if not data.is_dir():
        raise DataError(f"there is no folder {data}: check the path")
    found, findings = find_items(data, options.kind)
    halves = found.kind == "pairs" and not found.folders
    originals = [path for _, item in found.items for path in item]
    sheet = options.sheet
    output = Output(sheet.parent, originals, options.force) if sheet is not None else None
    if output is not None and sheet is not None:
        output.check(sheet)
    palettes = find_palettes(data, found, halves)
    asked = parse_bounds(options.range)

    def sides_of(item: Item) -> tuple[str, ...]:
        return (
            ("A", "B") if found.kind == "pairs" else (side_of(item[0]) if found.kind == "unpaired" else "",)
        )

    def look(entry: tuple[str, Item]) -> Looked:
        bounds = [asked.get(side, asked.get("", ())) for side in sides_of(entry[1])]
        return look_at(*entry, halves=halves, pairs=found.kind == "pairs", palettes=palettes, bounds=bounds)

    looked: list[Looked] = []
    for (_, item), result, reason in attempt_all(found.items, look, progress):
        if result is None:
            findings.append(Finding("error", "unreadable", reason, item))
        else:
            looked.append(result)
    report = Report(kind=found.kind, findings=findings)
    report.counts = dict(Counter(split for split, _ in found.items))
    findings += check_sizes(looked, report)
    seen = [
        (side, path, values)
        for entry in looked
        for side, path, values in zip(
            sides_of(entry.item), entry.item * 2 if halves else entry.item, entry.values, strict=True
        )
    ]
    report.values = ranges_of(seen)
    findings += check_values(seen, options.range)
    findings += check_copies(looked, options.near)
    if found.kind == "pairs":
        findings += check_alignment(looked)
    findings += check_classes(looked, palettes, report)
    findings += check_meaning(found)
    findings.sort(key=lambda finding: finding.level)
    if output is not None and sheet is not None:
        write_atomically(sheet, encode_image(image_of(contact_sheet(looked, findings)), sheet.suffix))
        report.sheet = sheet
    return report
