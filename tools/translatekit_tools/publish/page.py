"""A page that runs the model in the visitor's browser, without a server."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

from translatekit.errors import ModelFileError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import Progress
from translatekit.model_info import ModelInfo
from translatekit.requirements import of_extra, require
from translatekit.storage import write_atomically
from translatekit_tools.publish.model import Model, Published
from translatekit_tools.publish.options import PublishOptions
from translatekit_tools.publish.output import new_folder, refuse_existing
from translatekit_tools.publish.runtime import Runtime

_MAX_PIXELS = 2**22  # of a picture: beyond it, a browser's memory ends
MAX_EXAMPLES = 12
_MOST_OF_CLASSES = 0.001
"""The share of pixels that may be of another class than in Python, since the last bit decides between equal ones."""


def publish(model: Model, out: Path, options: PublishOptions, progress: Progress) -> Published:
    """Write the page.

    Args:
        model: what it runs.
        out: its folder; with ``single``, the HTML file.
        options: those of ``translatekit publish``.
        progress: told what is being done.

    Raises:
        TranslatekitError: no browser can run the model, or it runs it otherwise than Python does; nothing is written.
    """
    needed = of_extra("onnx", "onnxruntime")
    require("publishing a page", (*needed, *of_extra("compile", "onnx")))
    _check_specs(model)
    if not options.single:
        with new_folder(out, "page", "index.html", options.force) as made:
            return _publish(model, out, options, progress, made)
    if out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{out} is no name of a page: with --single, -o names a file such as model.html")
    refuse_existing(out, options.force)
    return _publish(model, out, options, progress, None)


def _publish(
    model: Model, out: Path, options: PublishOptions, progress: Progress, made: Path | None
) -> Published:
    from translatekit_tools.publish import site
    from translatekit_tools.publish.check import check_in_browser, find_browser
    from translatekit_tools.publish.graph import make_graph, not_on_webgpu
    from translatekit_tools.publish.runtime import LICENCE, open_runtime

    runtime = open_runtime(options.web_runtime, progress)
    with tempfile.TemporaryDirectory(prefix="translatekit-") as name:
        graph = make_graph(model, Path(name), options.weights, progress)
        weights = graph.path.read_bytes()
        builds, files = _builds(runtime, options, single=made is None)
        files["model.onnx"] = weights
        described = _describe(model, graph.info, options, len(weights))
        described["runtime"] = {"builds": builds, "model": {"file": "model.onnx", "size": len(weights)}}
        described["examples"] = _examples(options.examples, model)
        files["model.json"] = json.dumps(described).encode()
        on_cpu = not_on_webgpu(graph.path, runtime) if "webgpu" in builds else None
        checked: dict[str, Any] | None = None
        browser = find_browser() if options.check != "no" else None
        if options.check == "yes" and browser is None:
            raise OptionError(
                "there is no Chromium or Firefox here to compare the page in: install one, or leave out --check yes"
            )
        if browser is not None:
            progress(f"comparing in {browser.name}", None)
            checked = check_in_browser(browser, {**files, **site.scripts()}, described, graph)
            most = _MOST_OF_CLASSES if graph.info.output.meaning == "labels" else 1
            if checked["max_error"] > most:
                raise ModelFileError(
                    f"{out} was not written: in {browser.name} the model's outputs differ by "
                    f"{_difference(checked, graph.info)} from those in Python, and {most} is the limit: please report "
                    "this with the model"
                )
    progress("writing the page", None)
    title, summary = described["title"], described["about"]["text"] or described["heading"]
    if made is None:
        data = site.in_one_file(title, summary, files)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, data)
        written = {out.name: data}
    else:
        files["runtime/LICENSE.txt"] = LICENCE.encode()
        written = site.in_folder(title, summary, files)
        site.write(made, written)
    transfer = _transfer(written, builds) if made is not None else len(data)
    return Published(
        path=out,
        kind="page",
        bytes=sum(map(len, written.values())),
        details={
            "transfer": transfer,
            "model_bytes": len(weights),
            "checked": checked,
            "not_on_webgpu": on_cpu,
            "builds": list(builds),
        },
        notes=_notes(out, transfer, len(weights), checked, on_cpu, options, graph.info),
    )


def _check_specs(model: Model) -> None:
    """See that a browser can show what the model takes and gives."""
    if model.info.source != "image":
        raise ModelFileError(
            f"{model.path} draws images from noise and translates none: make some with translatekit sample, and "
            "show those"
        )
    if model.info.bridge is not None:
        raise OptionError(
            f"{model.path} takes several passes for an image, and a page runs one: publish it --as docker, which "
            "serves a page, or --as hub"
        )
    for side, spec in (("takes", model.info.input), ("gives", model.info.output)):
        if not (spec.shown or (spec.meaning == "labels" and spec.count == 1)):
            raise OptionError(
                f"{model.path} {side} {spec}, which no browser shows: models of photographs, gray and maps of classes "
                "can be published --as page, all others --as hub, triton or docker"
            )


def _builds(
    runtime: Runtime, options: PublishOptions, single: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, bytes]]:
    """What the page is told of the runtime's builds, and their files as they are published."""
    from translatekit_tools.publish.runtime import BUILDS

    webgpu = options.webgpu if options.webgpu is not None else not single
    # One file holds one build: that of WebGPU runs models on the CPU as well.
    chosen = {
        name: "webgpu" if single and webgpu else name
        for name in (("webgpu", "wasm") if webgpu else ("wasm",))
    }
    files: dict[str, bytes] = {}
    builds = {}
    for provider, name in chosen.items():
        build = BUILDS[name]
        places = {"script": build.bundle if single else build.script, "binary": build.binary}
        if not options.single:
            places["glue"] = build.glue
        described: dict[str, Any] = {}
        for part, source in places.items():
            file = f"runtime/{Path(source).name}"
            described[part] = f"{file}.gz" if part == "binary" else file
            if described[part] not in files:
                data = runtime.files[source]
                # Compressed here, since not every host does it; the page decompresses it.
                files[described[part]] = gzip.compress(data, 9, mtime=0) if part == "binary" else data
        described["size"] = len(files[described["binary"]])
        builds[provider] = described
    return builds, files


def _describe(model: Model, graph: ModelInfo, options: PublishOptions, size: int) -> dict[str, Any]:
    """What the page is told of the model.

    Args:
        model: which one.
        graph: the header of the graph that the page runs, which may be of one size where the model is of any.
        options: those of ``translatekit publish``.
        size: of the graph, in bytes.
    """
    from translatekit.datasets.palette import find_palette
    from translatekit_tools.paint.describe import describe

    info = model.info
    title = options.title or model.name
    facts = [("Size", f"{size / 1e6:.1f} MB")]
    if options.licence:
        facts.append(("Licence", options.licence))
    if trained_on := _trained_on(model):
        facts.insert(0, ("Trained on", trained_on))
    facts.append(("Privacy", "runs on this device: no picture leaves it"))
    described = describe(
        info,
        name=model.name,
        palette=find_palette(model.path, info, None if options.palette is None else Path(options.palette)),
        mode=options.mode,
        max_pixels=_MAX_PIXELS,
        facts=facts,
    )
    shapes = str(graph.compiled.get("shapes", "any"))
    return {
        **described,
        "heading": title,
        "subtitle": "",
        "title": title,
        "about": {**described["about"], "title": title, "text": options.description or ""},
        "browser": True,
        "takes": _seen_as(info.input),
        "gives": _seen_as(info.output),
        "fixed": None if shapes == "any" else [int(side) for side in shapes.split("x")],
    }


def _seen_as(spec: ImageSpec) -> dict[str, Any]:
    """How a canvas's colours are the model's numbers."""
    from translatekit.images.preview import class_colours

    if spec.meaning != "labels":
        return {"channels": spec.count}
    colours = zip(spec.ids, class_colours(spec), strict=True)
    return {"channels": 1, "colors": [{"id": number, "color": list(colour)} for number, colour in colours]}


def _trained_on(model: Model) -> str:
    """The data set's name and how many images it had, as far as the header says so; no path."""
    data = model.info.data
    name = str(data.get("name") or data.get("dataset") or "")
    count = data.get("images")
    return f"{name}, {count:,} images" if name and isinstance(count, int) else name


def _examples(folder: str | None, model: Model) -> list[str]:
    """Pictures to start from, as data: URLs, in the form and at the size that the page shows them in."""
    if folder is None:
        return []
    import base64

    import numpy as np

    from translatekit.images import encode_image, image_of, is_image, read_levels, resize
    from translatekit_tools.compile.images import find_folder

    files = sorted(path for path in find_folder(folder).rglob("*") if is_image(path) and path.is_file())
    if not files:
        raise OptionError(f"the folder {folder} holds no pictures: name another with --examples")
    # Drawings stay exact; of photographs nobody sees the difference.
    suffix, kind = (
        (".png", "png")
        if model.info.input.meaning == "labels" or model.info.data.get("palette")
        else (".jpg", "jpeg")
    )
    urls = []
    for file in files[:MAX_EXAMPLES]:
        pixels = read_levels(file, 3, deep=False).pixels
        height, width = pixels.shape[:2]
        scale = min(1.0, 2 * model.info.size / max(height, width))
        if scale < 1 and suffix == ".jpg":
            pixels = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
        encoded = encode_image(image_of(np.ascontiguousarray(pixels)), suffix)
        urls.append(f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}")
    return urls


def _transfer(site: dict[str, bytes], builds: dict[str, dict[str, Any]]) -> int:
    """Bytes that a visitor without WebGPU loads, where the host does not compress by itself."""
    own = set(builds["wasm"].values())
    return sum(len(data) for name, data in site.items() if not name.startswith("runtime/") or name in own)


def _difference(checked: dict[str, Any], info: ModelInfo) -> str:
    """How far outputs are from Python's, in words."""
    worst = checked["max_error"]
    return f"{worst:.2g} of the pixels" if info.output.meaning == "labels" else f"{worst:g} of 255"


def _notes(
    out: Path,
    transfer: int,
    weights: int,
    checked: dict[str, Any] | None,
    on_cpu: list[str] | None,
    options: PublishOptions,
    info: ModelInfo,
) -> tuple[str, ...]:
    notes = [
        f"A visitor loads {transfer / 1e6:.1f} MB: {weights / 1e6:.1f} MB of them are the model, the rest is nearly "
        "all the runtime."
    ]
    if checked is None:
        why = "as --check no asks" if options.check == "no" else "since there is no Chromium or Firefox here"
        notes.append(f"Its outputs were not compared with Python's in a browser, {why}.")
    else:
        notes.append(
            f"In {checked['browser']} its outputs differ from Python's by at most {_difference(checked, info)}; "
            f"{checked['seconds']:.3f} s an image of {checked['size']} on {checked['threads']} threads."
        )
    if on_cpu is not None:
        notes.append(
            f"With WebGPU, all runs on the GPU but {', '.join(on_cpu)}, which it does not have."
            if on_cpu
            else "With WebGPU, all of it runs on the GPU."
        )
    if not options.single:
        notes.append(
            f"Look at it: python -m http.server --directory {out}; then copy it to any host of static files, by https."
        )
    return tuple(notes)
