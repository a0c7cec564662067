"""``translatekit plugins new``: the package in ``translatekit/templates/plugin``, under another name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import translatekit
from translatekit.errors import PluginError
from translatekit.registry import registry

# The template is itself a sound package, for a generator of this name.
NAME, CLASS, MODULE, DISTRIBUTION = "tiny", "Tiny", "translatekit_tiny", "translatekit-tiny"


def template_files() -> dict[str, str]:
    """The template's files by their path, with ``/``: as they stand."""
    folder = Path(translatekit.__file__).parent / "templates" / "plugin"
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def package_files(name: str) -> dict[str, str]:
    """The files of the package of a generator called `name`.

    Raises:
        PluginError: there can be no package of that name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        raise PluginError(
            f"a plugin cannot be named {name!r}: use lower-case letters, digits and single hyphens, such as tiny-net"
        )
    words = re.split("[_-]", name)
    replacements = {
        MODULE: "_".join(["translatekit", *words]),
        DISTRIBUTION: "-".join(["translatekit", *words]),
        f"test_{NAME}": "_".join(["test", *words]),
        CLASS: "".join(word.capitalize() for word in words),
        NAME: name,
    }
    pattern = re.compile("|".join(replacements))

    def renamed(text: str) -> str:
        return pattern.sub(lambda match: replacements[match[0]], text)

    return {renamed(path): renamed(text) for path, text in template_files().items()}


def write_package(name: str, output: Path | None = None) -> Path:
    """Write the package of a generator called `name`.

    Args:
        name: of the generator; the distribution is called ``translatekit-NAME``.
        output: the new folder; ``translatekit-NAME`` in the current one when None.

    Returns:
        The folder.

    Raises:
        PluginError: the name is malformed or taken, or the folder exists or cannot be written.
    """
    contents = package_files(name)
    module = "_".join(["translatekit", *re.split("[_-]", name)])
    generators = registry("generator")
    if name in [*generators.names(), *generators.conflicts()]:
        raise PluginError(f"there is a generator named {name!r} already: choose another name")
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"a package {module} is installed already: choose another name than {name!r}")
    folder = output or Path(module.replace("_", "-"))
    try:
        folder.mkdir(parents=True)
        for path, text in contents.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise PluginError(f"{folder} exists already: choose another folder with -o") from None
    except OSError as error:
        raise PluginError(
            f"{folder} could not be written ({error.strerror}): choose another folder with -o"
        ) from None
    return folder
