"""Compiling trained models for other runtimes, and comparing the result before it is handed over."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.interfaces import Progress

if TYPE_CHECKING:
    from translatekit.specs import BackendSpec
    from translatekit_tools.backends.options import CompileOptions

__all__ = ["CompileReport", "compile_model"]

CHECK_IMAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileReport:
    """What was compiled.

    Attributes:
        path: the file that was written, or its address.
        backend, precision: what it was compiled for.
        parity: the fields of `translatekit_tools.backends.parity.Parity`.
        checked_on: where the images of the comparison are from.
        seconds: all of it.
        bytes: of all files that were written.
        details: what the backend says: shapes, versions, calibration.
    """

    path: Path | str
    backend: str
    precision: str
    parity: dict[str, Any]
    checked_on: str
    seconds: float
    bytes: int
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "path": str(self.path)}


def compile_model(
    model: str | Path, out: str | Path, *, progress: Progress | None = None, **options: Any
) -> CompileReport:
    """Compile a trained model, as ``translatekit compile`` does.

    Args:
        model: a model file, a run's folder, or an ``.onnx`` in fp32 that this function wrote.
        out: the file to write, or its address; its suffix says for which backend.
        progress: told what is being done.
        options: fields of `translatekit_tools.backends.options.CompileOptions`.

    Returns:
        What was written, and how close it is to the model in fp32.

    Raises:
        TranslatekitError: the model cannot be compiled, or the compiled one is past the tolerance; then nothing is
            written.
    """
    from translatekit.errors import ModelFileError
    from translatekit.model_file import find_model
    from translatekit.options import check_options
    from translatekit.requirements import require
    from translatekit.storage import folder_beside, is_uri
    from translatekit_tools.backends.options import CompileOptions
    from translatekit_tools.backends.parity import compare
    from translatekit_tools.compile.images import compiled_size, find_folder, sample_images
    from translatekit_tools.compile.source import Source, source_requires

    if is_uri(out):
        return _compile_to(model, str(out), progress, options)
    start = time.perf_counter()
    progress = progress or (lambda text, share: None)
    checked = CompileOptions(**check_options(CompileOptions, options, "compile_model()"))
    out = Path(out).expanduser()
    spec = find_backend(out, checked.backend)
    _refuse_unused(spec, checked)
    if not checked.force:
        _refuse_existing([out])
    for named in filter(None, (checked.check, checked.calibrate)):
        find_folder(named)  # before what may take minutes
    path = find_model(model, checked.direction, best=checked.best)
    needed = (*spec.requires, *spec.compiler_requires, *source_requires(path))
    require(f"compiling {path.name} to {out.suffix}", needed)
    load, compiler = spec.load(), spec.load_compiler()
    source = Source(path, checked.dtype)
    with folder_beside(out) as folder:
        made = folder / out.name
        details = compiler(source, made, checked, progress)
        progress("comparing with the model in fp32", None)
        compared_at = compiled_size(source.info, details.get("shapes", "any"))
        images, checked_on = sample_images(
            checked.check, path, source.info, CHECK_IMAGES, compared_at, source.dtype
        )
        name, reference = source.reference()
        if spec.checker is None:
            candidate, remark = load(made, checked.device, None), ""
        else:
            candidate, remark = spec.load_checker()(made, checked.device)
        if remark:
            details["checked"] = remark
        parity = compare(reference, candidate, images, name)
        min_psnr = checked.min_psnr(source.dtype, source.info.output)
        if parity.psnr < min_psnr:
            raise ModelFileError(
                f"{out} was not written: at {checked.precision} its outputs reach {parity.psnr:.1f} dB against {name}, "
                f"and {min_psnr:g} dB are asked for{_worst_group_note(source, checked.precision, images[:4])}: "
                "choose another --precision, or accept it with --tolerance"
            )
        details["dtype"] = source.dtype
        compiled = {**details, "parity": asdict(parity), "source_hash": source.hash}
        spec.load_writer()(made, replace(source.info, compiled=compiled))
        # The file that is asked for comes last: where it is, all that belongs to it is.
        files = sorted(folder.iterdir(), key=lambda file: file.name == out.name)
        if not checked.force:
            _refuse_existing([out.parent / file.name for file in files])
        size = sum(
            each.stat().st_size for file in files for each in (file, *file.rglob("*")) if each.is_file()
        )
        for file in files:
            _move(file, out.parent / file.name)
    return CompileReport(
        path=out,
        backend=spec.name,
        precision=checked.precision,
        parity=asdict(parity),
        checked_on=checked_on,
        seconds=time.perf_counter() - start,
        bytes=size,
        details=details,
    )


def _compile_to(
    model: str | Path, out: str, progress: Progress | None, options: dict[str, Any]
) -> CompileReport:
    """Compile into a temporary folder, and commit what belongs to the model first and the model itself last."""
    from translatekit.errors import OptionError, TranslatekitError
    from translatekit.storage import open_sink, shown

    folder, _, name = out.rpartition("/")
    if find_backend(Path(name), options.get("backend")).folders:
        raise OptionError(
            f"{shown(out)} would be a folder, which is written to a local path only: write it there, and copy it whole"
        )
    sink = open_sink(folder)

    def refuse_existing(names: list[str]) -> None:
        found = [sink.uri_of(name) for name in names if sink.stat(name) is not None]
        if found and not options.get("force"):
            raise OptionError(
                f"{found[0]} exists already and is not overwritten: pass --force, or choose another name with -o"
            )

    refuse_existing([name])
    with tempfile.TemporaryDirectory(prefix="translatekit-") as local:
        made = Path(local) / name
        try:
            report = compile_model(model, made, progress=progress, **options)
        except TranslatekitError as error:
            raise type(error)(str(error).replace(str(made), shown(out))) from None
        files = sorted(made.parent.iterdir(), key=lambda file: file.name == name)
        refuse_existing([file.name for file in files])
        for file in files:
            sink.commit(file.name, file)
    return replace(report, path=sink.uri_of(name))


def find_backend(out: Path, name: str | None = None) -> BackendSpec:
    """The backend that compiles to files like `out`.

    Args:
        out: the file to write.
        name: of the backend, where several compile to such files; None for the first by name.

    Raises:
        PluginError: there is no backend of that name.
        OptionError: none compiles to such files, or not the named one.
    """
    from translatekit.errors import OptionError
    from translatekit.registry import pick_backend, registry

    compilers = [entry.spec for entry in registry("backend").entries() if entry.spec.compiler is not None]
    found = [spec for spec in compilers if out.suffix in spec.suffixes]
    if found:
        return pick_backend(found, name, out)
    known = ", ".join(f"{suffix} ({spec.name})" for spec in compilers for suffix in spec.suffixes)
    raise OptionError(
        f"nothing is compiled to {out.suffix or out.name!r}: let the output end in one of {known}"
    )


def _refuse_unused(spec: BackendSpec, options: CompileOptions) -> None:
    """Refuse what was asked for and would change nothing."""
    from translatekit.errors import OptionError
    from translatekit.registry import registry
    from translatekit_tools.backends.options import CompileOptions

    takers: dict[str, list[str]] = {}
    for entry in registry("backend").entries():
        for name in entry.spec.compiler_options or ():
            takers.setdefault(name, []).append(entry.spec.name)
    unused = takers.keys() - {*(takers if spec.compiler_options is None else spec.compiler_options)}
    default = CompileOptions()
    for name in sorted(unused):
        if getattr(options, name) != getattr(default, name):
            raise OptionError(
                f"--{name.replace('_', '-')} changes nothing for {spec.name}, only for {', '.join(takers[name])}: "
                "leave it out"
            )
    if options.calibrate is not None and options.precision != "int8":
        raise OptionError(
            f"--calibrate measures ranges for int8 and changes nothing in {options.precision}: "
            "pass --precision int8 too, or leave it out"
        )


def _move(made: Path, out: Path) -> None:
    """Give what was made its name. A folder that has it goes when the new one is there."""
    if not made.is_dir() or not out.exists():
        made.replace(out)
        return
    old = made.with_name(f"{made.name}.old")  # in the temporary folder, which is removed
    out.replace(old)
    try:
        made.replace(out)
    except OSError:
        old.replace(out)
        raise


def _refuse_existing(paths: list[Path]) -> None:
    from translatekit.errors import OptionError

    for path in paths:
        if path.exists():
            raise OptionError(
                f"{path} exists already and is not overwritten: pass --force, or choose another name with -o"
            )


def _worst_group_note(source: Any, precision: str, images: Any) -> str:
    if not source.is_torch:
        return ""
    from translatekit_tools.compile.groups import worst_group

    found = worst_group(source.path, precision, images)
    return (
        ""
        if found is None
        else f" (most is lost in {found[0]!r}: {found[1]:.1f} dB when it alone is rounded)"
    )
