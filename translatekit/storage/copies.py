"""Local copies of models that lie elsewhere: what runs a model maps it from a file."""

from __future__ import annotations

import json
import re
import shutil
from hashlib import blake2b
from itertools import islice
from pathlib import Path, PurePosixPath

from translatekit.errors import ModelFileError, StorageError
from translatekit.requirements import NETWORKS, missing
from translatekit.storage.files import atomic_path, cache_folder, hash_file, write_atomically
from translatekit.storage.opening import open_source, place_of
from translatekit.storage.places import Item, Source, checked_name
from translatekit.storage.uris import is_uri, shown

RECORD = "copy.json"
"""What a complete copy is told by: its address, and the names, sizes, stamps and hashes of its files."""

_WHOLE = 2**26  # bytes; up to this a file is read by one request
_RUN_FILES = ("config.toml", "metrics.jsonl")
_CHECKPOINT = re.compile(r"(.*/)(checkpoints/[^/]*\.pt)")
_MODEL_NAMES = ("model", "best")
_COMPILED = re.compile(r"model(-[^/.]*)?\.[^/]*(/.*)?")  # one may be a folder, as those of Core ML are
_FEW = 1000


def local_copy(text: str | Path) -> Path:
    """The local file or folder of a model: what is given where it is a path, and else a copy in the cache folder.

    A model file is copied with what belongs to it: the ``.bin`` of an ``.xml``, the ``.json`` and ``.onnx`` of an
    ``.engine``. Of a run's folder, its model files, options and losses are; of a checkpoint in it, these and the
    checkpoint. Of a folder without trained models, and where PyTorch is not installed to run them, the compiled ones
    are, which are called ``model`` too. A copy is used again as long as the store has the same stamps, for which it is
    asked each time.

    Args:
        text: a path, or the address of a model file or a run's folder.

    Raises:
        ModelFileError: there is no model at the address.
        StorageError: the store or the cache folder fails.
        PluginError: the store's library is not installed.
    """
    if not is_uri(text):
        return Path(text).expanduser()
    uri = str(text)
    found, name = _files_of(uri)
    if not found:
        raise ModelFileError(
            f"there is no model {shown(uri)}: give the address of a model file or a run's folder"
        )
    # Models are called after their run's folder, which is what lies around a model file.
    around = PurePosixPath(shown(uri)) if not name else PurePosixPath(shown(uri)).parents[name.count("/")]
    return _copied("models", uri, found, around.name or "model") / name


def local_file(text: str | Path) -> Path:
    """The local path of one file: what is given where it is a path, and else a copy in the cache folder.

    Args:
        text: a path, or the address of a file.

    Raises:
        StorageError: there is none, or the store or the cache folder fails.
        PluginError: the store's library is not installed.
    """
    if not is_uri(text):
        return Path(text).expanduser()
    source, name = place_of(text)
    item = source.stat(name)
    if item is None:
        raise StorageError(f"there is no {shown(text)}: check the address")
    return _copied("files", str(text), [(source, item)], "file") / name


def _copied(kind: str, uri: str, found: list[tuple[Source, Item]], last: str) -> Path:
    """The folder of the cache in which files are, copied when they are not there with these stamps."""
    stamps = json.dumps([(item.name, item.size, item.stamp) for _, item in found])
    folder = cache_folder(kind, f"{_key(uri)}-{_key(stamps)}", last)
    if _is_complete(folder, uri):
        return folder
    try:
        for _, item in found:
            (folder / checked_name(item.name, shown(uri))).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_cache(error, uri, folder) from None
    entries = [
        {
            "name": item.name,
            "size": item.size,
            "stamp": item.stamp,
            "hash": fetch(source, item, folder / item.name),
        }
        for source, item in found
    ]
    record = {"uri": shown(uri), "files": entries}
    write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode(), shared=True)
    return folder


def cannot_cache(error: OSError, uri: str, folder: Path) -> StorageError:
    """The sentence for a cache folder that cannot be written."""
    return StorageError(
        f"{shown(uri)} cannot be copied to {folder} ({error.strerror}): set TRANSLATEKIT_CACHE to a folder that may be "
        "written"
    )


def _files_of(uri: str) -> tuple[list[tuple[Source, Item]], str]:
    """What is to be copied, each from its place; and the name of the model file, "" where it is a run's folder."""
    model = _file(uri)
    if model is not None:
        others = [_file(other) for other in companions(uri)]
        return [model, *(other for other in others if other is not None)], model[1].name
    of_run = _CHECKPOINT.fullmatch(uri)
    source = open_source(of_run[1] if of_run else f"{uri.rstrip('/')}/")
    named = [item for start in _MODEL_NAMES for item in source.list(start)]
    models = [item for item in named if "/" not in item.name and item.name.endswith(".safetensors")]
    if not models or missing(NETWORKS):
        models += [item for item in named if _COMPILED.fullmatch(item.name) and item not in models]
    if not models and not of_run:  # a folder that holds a model and is no run's has few files
        few = [item for item in islice(source.list(), _FEW) if "/" not in item.name]
        models = [item for item in few if item.name.endswith(".safetensors")]
    checkpoint = source.stat(of_run[2]) if of_run else None
    if not models or (of_run and checkpoint is None):
        return [], ""
    files = models + [item for name in _RUN_FILES for item in source.list(name) if item.name == name]
    if checkpoint is not None:
        files.append(checkpoint)
    return [(source, item) for item in files], "" if checkpoint is None else checkpoint.name


def _file(uri: str) -> tuple[Source, Item] | None:
    """The file at an address, in its place; None where there is none, or the address is a folder's."""
    if not PurePosixPath(shown(uri)).suffix or uri.endswith("/") or _CHECKPOINT.fullmatch(uri):
        return None
    source, name = place_of(uri)
    item = source.stat(name)
    return None if item is None else (source, item)


def companions(uri: str) -> list[str]:
    """The addresses, or paths, of what may belong to a model file beside it."""
    base, mark, query = uri.partition("?") if uri.startswith("http") else (uri, "", "")
    stem, dot, suffix = base.rpartition(".")
    others = {"xml": [f"{stem}{dot}bin"], "engine": [f"{base}.json", f"{base}.onnx"]}
    return [f"{other}{mark}{query}" for other in others.get(suffix.lower(), ())]


def _is_complete(folder: Path, uri: str) -> bool:
    try:
        record = json.loads((folder / RECORD).read_bytes())
        return record["uri"] == shown(uri) and all(
            entry["size"] in (None, (folder / entry["name"]).stat().st_size) for entry in record["files"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def fetch(source: Source, item: Item, path: Path) -> str:
    """Copy a file; its hash. A file that was replaced meanwhile is refused, since it may be of two halves."""
    with atomic_path(path, shared=True) as temporary:
        if item.size is not None and item.size > _WHOLE:
            with source.open(item.name) as there, temporary.open("wb") as here:
                shutil.copyfileobj(there, here, 2**22)
            now = source.stat(item.name)
            if now != item:
                raise StorageError(f"{source.uri_of(item)} was replaced while it was copied: run again")
        else:
            temporary.write_bytes(source.read(item.name))
    return hash_file(path)


def _key(text: str) -> str:
    return blake2b(text.encode(), digest_size=12).hexdigest()
