"""What every backend must keep (see `translatekit.interfaces.Backend`)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from translatekit.errors import TranslatekitError
from translatekit.specs import BackendSpec
from translatekit.testing.contracts import ContractError, NotApplicableError, Subject, require


def descriptor(subject: Subject) -> None:
    """Its descriptor names suffixes with their dot, and devices; with a compiler, what reads and writes headers."""
    spec: BackendSpec = subject.spec
    require(bool(spec.suffixes), f"{subject} names no suffix, so that no file would ever reach it")
    for suffix in spec.suffixes:
        require(
            suffix.startswith(".") and suffix == suffix.lower() and len(suffix) > 1,
            f"{subject} names the suffix {suffix!r}: write it with its dot and in lower case, such as .onnx",
        )
    require(bool(spec.devices), f"{subject} names no device: write which it may serve, such as ('cpu',)")
    require(
        spec.compiler is None or (spec.reader is not None and spec.writer is not None),
        f"{subject} has a compiler, and no {'reader' if spec.reader is None else 'writer'} of the headers of its "
        "files, without which nothing that it compiles is handed over: name one in its descriptor",
    )


def bad_files(subject: Subject) -> None:
    """A file that is missing or is not a model is refused in a sentence that names it."""
    load = _load(subject)
    with tempfile.TemporaryDirectory(prefix="translatekit-") as folder:
        missing = Path(folder, f"missing{subject.spec.suffixes[0]}")
        nonsense = Path(folder, f"nonsense{subject.spec.suffixes[0]}")
        nonsense.write_bytes(b"this is no model")
        for path in (missing, nonsense):
            try:
                load(path, subject.spec.devices[0], None)
            except TranslatekitError as error:
                require(path.name in str(error), f"{subject} refuses {path.name} without naming it: {error}")
            except Exception as error:
                raise ContractError(
                    f"{subject} raises {type(error).__name__} for {path.name}: raise ModelFileError with a "
                    "sentence"
                ) from error
            else:
                raise ContractError(f"{subject} loads {path.name}, which is no model")


CONTRACTS = (descriptor, bad_files)


def _load(subject: Subject) -> Any:
    missing = subject.spec.missing()
    if missing:
        raise NotApplicableError(f"{subject} needs {', '.join(missing)}, which is not installed")
    load = subject.spec.load()
    require(callable(load), f"{subject} is {load!r}, not a function")
    return load
