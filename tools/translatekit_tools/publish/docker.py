"""A Docker context that serves a model: the painting page and ``POST /translate``, by a runtime without PyTorch."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from translatekit import __version__
from translatekit.errors import OptionError
from translatekit.interfaces import Progress
from translatekit_tools.publish.forms import compiled
from translatekit_tools.publish.model import Model, Published
from translatekit_tools.publish.options import PublishOptions
from translatekit_tools.publish.output import new_folder, size_of
from translatekit_tools.publish.wheel import make_wheel, pinned

_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}
_PYTHON = {"3.10": "3.10.18", "3.11": "3.11.13", "3.12": "3.12.11", "3.13": "3.13.5"}
"""The base image's Python for that of this machine, whose packages the container gets."""

_DOCKERFILE = """\
# {title}, served by translatekit {version}: a page to draw on and to drop photographs in, and POST /translate.
#
#     docker build -t {tag} .
#     docker run --rm -p 127.0.0.1:{port}:{port} {tag}
#
# Whoever reaches the port may use the model. For a token that they must have: docker run ... {tag} --token TOKEN

ARG PYTHON={python}
FROM python:${{PYTHON}}-slim-bookworm

COPY constraints.txt {wheel} /tmp/translatekit/
RUN pip install --no-cache-dir --disable-pip-version-check --constraint /tmp/translatekit/constraints.txt \\
    "/tmp/translatekit/{wheel}[{extras}]" && rm -r /tmp/translatekit
RUN useradd --system --uid 10001 --create-home translatekit
COPY model/ /srv/model/

USER 10001
WORKDIR /home/translatekit
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \\
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=4)"]
ENTRYPOINT ["translatekit", "paint", {model}, "--host", "0.0.0.0", "--port", "{port}"]
CMD ["--token", "off"]
"""


def publish(model: Model, out: Path | None, options: PublishOptions, progress: Progress) -> Published:
    """Write the context.

    Args:
        model: what is served.
        out: the context's folder.
        options: those of ``translatekit publish``.
        progress: told what is being done.

    Raises:
        TranslatekitError: the model cannot be compiled, translatekit cannot be packed, or the place cannot be written.
    """
    assert out is not None
    backend = options.runtime()
    if backend not in _EXTRAS:
        raise OptionError(
            f"a container is made for {' or '.join(_EXTRAS)}, which need no GPU, not for {backend}: pass --for "
            "onnxruntime, or see --as triton"
        )
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", model.name).strip("-.") or "model"
    tag = name.lower()
    with new_folder(out, "docker", "Dockerfile", options.force) as made:
        (made / "model").mkdir()
        form = compiled(model, backend, made / "model", options, progress)
        for path in list((made / "model").iterdir()):
            path.chmod(0o644)  # the container runs as another user
            path.rename(path.with_name(path.name.replace("model", name, 1)))
        progress("packing translatekit", None)
        wheel = make_wheel(made)
        extras = (_EXTRAS[backend], "paint")
        (made / "constraints.txt").write_text(
            "".join(f"{each}\n" for each in pinned(wheel, extras)), encoding="utf-8"
        )
        text = _DOCKERFILE.format(
            title=" ".join((options.title or model.name).split()),
            version=__version__,
            tag=tag,
            port=options.port,
            python=_PYTHON.get(f"{sys.version_info[0]}.{sys.version_info[1]}", _PYTHON["3.13"]),
            wheel=wheel.name,
            extras=",".join(extras),
            model=json.dumps(f"/srv/model/{name}{form.path.suffix}"),
        )
        (made / "Dockerfile").write_text(text, encoding="utf-8")
        (made / ".dockerignore").write_text(".*\n", encoding="utf-8")
    notes = [
        f"Build it with docker build -t {tag} {out}, and run it with docker run --rm -p 127.0.0.1:{options.port}:"
        f"{options.port} {tag}"
    ]
    if model.others:
        notes.append(
            f"It is {model.info.direction} alone: publish the run's other directions with --direction"
        )
    details = {"tag": tag, "port": options.port, "backend": backend, "wheel": wheel.name}
    return Published(path=out, kind="docker", bytes=size_of(out), details=details, notes=tuple(notes))
