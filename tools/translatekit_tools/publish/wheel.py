"""translatekit itself as a wheel, for machines that cannot get it from a package index."""

from __future__ import annotations

import base64
import email
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import translatekit
from translatekit.errors import PluginError
from translatekit.requirements import require

_NAME = "translatekit"
_OF_INSTALLER = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}
"""Files that a program which installs adds to a distribution."""


def make_wheel(folder: Path) -> Path:
    """Write the wheel of the translatekit that runs: built of its source, or of the files that are installed.

    Args:
        folder: where to.

    Raises:
        PluginError: it runs from its source, and what builds wheels is not installed or fails.
    """
    folder = folder.resolve()  # what builds runs elsewhere
    source = Path(translatekit.__file__).resolve().parents[1]
    if (source / "pyproject.toml").is_file():
        return _built(source, folder)
    return _packed(importlib.metadata.distribution(_NAME), folder)


def pinned(wheel: Path, extras: Iterable[str]) -> list[str]:
    """What a wheel needs with these extras, each in the version that is installed here: ``name==version``.

    A requirement of other machines is left out where it is not installed; one that is there and not needed does no
    harm, since these are constraints.
    """
    versions: dict[str, str] = {}
    waiting = _needed(_requirements(wheel), frozenset(extras))
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if "+" not in found.version:  # a local version is on no index
            versions[name] = found.version
        waiting += _needed(found.requires or [], wanted)
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []


def _needed(requirements: list[str], extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """Names, and their own extras, of the requirements that hold without an extra or with one of these."""
    needed = []
    for requirement in requirements:
        match = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?", requirement)
        if match is None:
            continue
        asked = re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", match[3] or "")
        if not asked or extras.intersection(asked):
            name = re.sub(r"[-_.]+", "-", match[1]).lower()
            needed.append((name, frozenset(re.findall(r"[\w.-]+", match[2] or ""))))
    return needed


def _built(source: Path, folder: Path) -> Path:
    require("a wheel of translatekit, which runs from its source folder,", ("hatchling",))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    made = sorted(folder.glob("*.whl"))
    if done.returncode or len(made) != 1:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise PluginError(
            f"the wheel of {source} was not built ({reason[-1] if reason else 'no reason given'}): run python -m "
            "hatchling build -t wheel there, and see what is wrong"
        )
    return made[0]


def _packed(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """A wheel of what is installed, which is what it was installed from."""
    tag = re.search(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.M)
    wheel = folder / f"{_NAME}-{distribution.version}-{tag[1] if tag else 'py3-none-any'}.whl"
    record = f"{_NAME}-{distribution.version}.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(distribution.files or (), key=str):
            is_own = ".." not in file.parts and "__pycache__" not in file.parts and not file.is_absolute()
            if not is_own or (file.parts[0].endswith(".dist-info") and file.name in _OF_INSTALLER):
                continue
            data = Path(str(distribution.locate_file(file))).read_bytes()
            archive.writestr(zipfile.ZipInfo(file.as_posix()), data, zipfile.ZIP_DEFLATED)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append(f"{file.as_posix()},sha256={digest},{len(data)}\n")
        archive.writestr(zipfile.ZipInfo(record), "".join([*lines, f"{record},,\n"]), zipfile.ZIP_DEFLATED)
    return wheel
