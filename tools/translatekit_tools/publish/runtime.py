"""ONNX Runtime Web: the npm package that runs models in browsers, fetched when a page is published."""

from __future__ import annotations

import base64
import json
import os
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Progress
from translatekit.storage import cache_folder

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as the npm registry states it."""

REGISTRY = "https://registry.npmjs.org"
REGISTRY_VARIABLE = "NPM_CONFIG_REGISTRY"
"""The environment variable, which is npm's own, that names another registry."""

_CONFIG_VARIABLE = "NPM_CONFIG_USERCONFIG"

LICENCE = f"""ONNX Runtime Web {VERSION}
Copyright (c) Microsoft Corporation

MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

_OPERATORS = "docs/webgpu-operators.md"


@dataclass(frozen=True, slots=True)
class Build:
    """One of the package's builds: what runs a model by one means.

    Attributes:
        script: the module that offers it.
        bundle: the same with its glue inside, for a page that is one file.
        glue: the module that starts the binary, which its threads load too.
        binary: WebAssembly.
    """

    script: str
    bundle: str
    glue: str
    binary: str


BUILDS = {
    "wasm": Build(
        "dist/ort.wasm.min.mjs",
        "dist/ort.wasm.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.mjs",
        "dist/ort-wasm-simd-threaded.wasm",
    ),
    "webgpu": Build(
        "dist/ort.webgpu.min.mjs",
        "dist/ort.webgpu.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm",
    ),
}
"""By what they run models on. The one for WebGPU runs them on the CPU too, and is nearly twice as large."""

_NEEDED = {
    "package.json",
    _OPERATORS,
    *(name for build in BUILDS.values() for name in (build.script, build.bundle, build.glue, build.binary)),
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """The package's files that pages are made of.

    Attributes:
        files: by name in the package.
    """

    files: dict[str, bytes] = field(repr=False)

    def webgpu_operators(self) -> dict[str, list[tuple[int, float]]]:
        """Operators of ONNX's own domain that run on WebGPU, by name, and the ranges of opsets that each is there for.

        They are those that the package lists itself.
        """
        found: dict[str, list[tuple[int, float]]] = {}
        text = self.files[_OPERATORS].decode()
        for name, versions in re.findall(r"^\| (\w+) \| .*?ai\.onnx\(([^)]+)\)", text, re.MULTILINE):
            found[name] = [_range(part.strip()) for part in versions.split(",")]
        return found


def open_runtime(given: str | None, progress: Progress) -> Runtime:
    """The package: from the cache folder, from the npm registry, or what the user gives.

    Args:
        given: the folder or the archive of the package, as npm installs or packs it; None for the registry's.
        progress: told what is being done.

    Raises:
        DataError: it cannot be downloaded, or is not what it should be.
        OptionError: `given` is no such thing.
    """
    if given is not None:
        path = Path(given).expanduser()
        files = _of_folder(path) if path.is_dir() else _of_archive(path)
    else:
        files = _of_archive(_download(progress))
    lacking = sorted(_NEEDED - files.keys())
    version = _version(files)
    if lacking or version != VERSION:
        said = f"version {version}" if version != VERSION else f"without {lacking[0]}"
        raise OptionError(
            f"{given} is not {PACKAGE} {VERSION} ({said}): run npm pack {PACKAGE}@{VERSION} and pass the archive"
        )
    return Runtime(files)


def registry() -> str:
    """The address of the npm registry: of npm's environment variable, else of the user's ``.npmrc``, else npm's own."""
    settings = {name.upper(): value for name, value in os.environ.items()}  # npm takes either case
    if settings.get(REGISTRY_VARIABLE):
        return settings[REGISTRY_VARIABLE].rstrip("/")
    config = Path(settings.get(_CONFIG_VARIABLE) or Path.home() / ".npmrc")
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        text = ""
    found = re.findall(r"^\s*registry\s*=\s*[\"']?(https?://[^\s\"']+)", text, re.MULTILINE)
    return str(found[-1] if found else REGISTRY).rstrip("/")


def _download(progress: Progress) -> Path:
    from translatekit_tools.data.download import download

    name = f"{PACKAGE}-{VERSION}.tgz"
    path = cache_folder("npm") / name
    return download(
        f"{registry()}/{PACKAGE}/-/{name}",
        path,
        sha512=base64.b64decode(INTEGRITY.removeprefix("sha512-")).hex(),
        progress=lambda done, total: progress(
            f"fetching {PACKAGE} {VERSION}", done / total if total else None
        ),
        elsewhere=f"--web-runtime with the archive that npm pack {PACKAGE}@{VERSION} writes",
    )


def _of_archive(path: Path) -> dict[str, bytes]:
    files = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if name in _NEEDED and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    files[name] = content.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(
            f"{path} cannot be read as an npm package ({reason}): run npm pack {PACKAGE}@{VERSION} and pass the "
            "archive with --web-runtime"
        ) from None
    return files


def _of_folder(path: Path) -> dict[str, bytes]:
    inner = path / "node_modules" / PACKAGE
    path = inner if inner.is_dir() else path
    try:
        return {name: (path / name).read_bytes() for name in _NEEDED if (path / name).is_file()}
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): check the folder of --web-runtime"
        ) from None


def _version(files: dict[str, bytes]) -> str:
    try:
        content = json.loads(files.get("package.json", b"{}"))
        return str(content.get("version", "unknown")) if content.get("name") == PACKAGE else "unknown"
    except (ValueError, AttributeError):
        return "unknown"


def _range(text: str) -> tuple[int, float]:
    """``7-12``, ``13`` or ``14+`` as the lowest and the highest opset."""
    low, _, high = text.partition("-")
    if text.endswith("+"):
        return int(text[:-1]), float("inf")
    return int(low), float(high or low)
