"""What stands in for a GPU: a driver on the host, and TensorRT's own bindings over empty libraries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "translatekit-tests"
PYCUDA = "pycuda==2026.1"
BINDINGS = {
    "8.5": "tensorrt==8.5.3.1",
    "10.16": "tensorrt_cu13_bindings==10.16.1.11",
    "11.4": "tensorrt_cu13_bindings==11.4.0.106",
    "1.7": "tensorrt_rtx",  # which is installed, and imports without a driver as it is
}

RunPython = Callable[..., subprocess.CompletedProcess[str]]


def run_tool(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def make_library(target: Path, functions: list[str], source: str = "") -> None:
    """A shared library in which the named functions fail."""
    text = source + "".join(f"int {name}(void) {{ return 1; }}\n" for name in functions)
    command = [
        "gcc",
        "-w",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{target.name}",
        "-x",
        "c",
        "-",
        "-o",
        str(target),
    ]
    subprocess.run(command, input=text, text=True, check=True)


def missing_functions(library: Path) -> list[str]:
    """What a library takes from others than the C and C++ runtimes and Python."""
    names = [line.split()[-1] for line in run_tool("nm", "-D", "--undefined-only", library).splitlines()]
    return [name for name in names if "@" not in name and not name.startswith(("Py", "_Py", "__", "_ITM"))]


def need_tools() -> None:
    for tool in ("gcc", "nm", "readelf"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} to build the stub libraries with")


@pytest.fixture(scope="session")
def pycuda() -> Path:
    """A folder to import pycuda from, whose compiled part is what the stub driver must satisfy."""
    spec = importlib.util.find_spec("pycuda")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parents[1]
    folder = CACHE / f"{PYCUDA}-{sysconfig.get_config_var('SOABI')}"
    if not folder.exists():
        if not os.environ.get("TRANSLATEKIT_TEST_BUILD_PYCUDA"):
            pytest.skip(
                "pycuda is not installed; TRANSLATEKIT_TEST_BUILD_PYCUDA=1 builds it, in three minutes"
            )
        build_pycuda(folder)
    return folder


def build_pycuda(folder: Path) -> None:
    """Compile pycuda against an empty driver, without cuRAND."""
    need_tools()
    nvcc = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1], "/usr/local/cuda"]
    roots = [Path(place) for place in places if place and (Path(place) / "include" / "cuda.h").exists()]
    if not roots:
        pytest.skip("there are no CUDA headers: set CUDA_HOME to a toolkit")
    work = folder.with_name(folder.name + ".build")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "-q"]
    run_tool(*pip, "download", "--no-deps", "--no-binary=pycuda", "-d", work, PYCUDA)
    with tarfile.open(next(work.glob("pycuda-*.tar.gz"))) as archive:
        archive.extractall(work)
    make_library(work / "libcuda.so.1", ["cuInit"])  # a library that nothing is taken from would be left out
    (work / "libcuda.so").symlink_to("libcuda.so.1")
    source = next(path for path in work.glob("pycuda-*") if path.is_dir())
    boost = ("BOOST_INC_DIR", "BOOST_LIB_DIR", "BOOST_PYTHON_LIBNAME", "BOOST_THREAD_LIBNAME")
    nothing = (*boost, "CUDART_LIB_DIR", "CUDART_LIBNAME", "LDFLAGS")
    settings = {
        "CUDA_ROOT": str(roots[0]),
        "CUDADRV_LIB_DIR": [str(work)],
        "CUDADRV_LIBNAME": ["cuda"],
        "USE_SHIPPED_BOOST": True,
        "CXXFLAGS": ["-O0"],
        "CUDA_ENABLE_CURAND": False,
        "CUDA_ENABLE_GL": False,
        "CUDA_TRACE": False,
        **{name: [] for name in nothing},
    }
    (source / "siteconf.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    run_tool(*pip, "install", "--no-deps", "--target", work / "site", source)
    run_tool(*pip, "install", "--target", work / "others", "pytools", "platformdirs", "mako")
    for path in (work / "others").iterdir():
        if not path.name.startswith("numpy") and not (work / "site" / path.name).exists():
            shutil.move(path, work / "site")
    (work / "site").rename(folder)
    shutil.rmtree(work)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ``libcuda.so.1`` that keeps everything on the host."""
    need_tools()
    folder = tmp_path_factory.mktemp("driver")
    make_library(folder / "libcuda.so.1", [], (HERE / "libcuda.c").read_text())
    return folder


@pytest.fixture(scope="session")
def run_python(driver: Path) -> RunPython:
    """Run a script where the driver is the stub and TensorRT the fake one."""

    def run(script: str, *arguments: object, path: list[Path] = [], **variables: object) -> object:  # noqa: B006
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(driver),
            "PYTHONPATH": os.pathsep.join(map(str, [HERE / "fakes", *path])),
            **{name: str(value) for name, value in variables.items()},
        }
        command = [sys.executable, "-X", "faulthandler", "-c", script, *map(str, arguments)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, cwd=HERE.parents[3]
        )

    return run  # type: ignore[return-value]


@pytest.fixture(scope="session")
def run_with_pycuda(
    run_python: RunPython, pycuda: Path, tmp_path_factory: pytest.TempPathFactory
) -> RunPython:
    """The same, with the real pycuda on the stub driver; the script must end well."""
    folder = tmp_path_factory.mktemp("driver")
    source = (HERE / "libcuda.c").read_text()
    make_library(folder / "there.so", [], source)
    there = {
        line.split()[-1] for line in run_tool("nm", "-D", "--defined-only", folder / "there.so").splitlines()
    }
    needed = missing_functions(next((pycuda / "pycuda").glob("_driver*.so")))
    make_library(folder / "libcuda.so.1", [name for name in needed if name not in there], source)

    def run(script: str, *arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
        alone = "import sys\nsys.modules['cuda.bindings'] = None\n" + script
        done = run_python(alone, *arguments, path=[pycuda], **{"LD_LIBRARY_PATH": folder, **variables})
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session", params=["cuda-bindings", "pycuda"])
def run_on_stub(request: pytest.FixtureRequest, run_python: RunPython) -> RunPython:
    """The same, once for each of what reaches a driver; the script must end well."""
    if request.param == "pycuda":
        return request.getfixturevalue("run_with_pycuda")  # type: ignore[no-any-return]
    pytest.importorskip("cuda.bindings")

    def run(script: str, *arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
        alone = "import sys\nsys.modules['pycuda'] = None\n" + script
        done = run_python(alone, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session", params=list(BINDINGS))
def bindings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[str], dict[str, str]]:
    """A version, and the command and environment of a Python that imports its bindings as ``bindings``."""
    version = request.param
    if version == "1.7":
        pytest.importorskip("tensorrt_rtx")
        folder = tmp_path_factory.mktemp("rtx")
        (folder / "bindings.py").write_text(
            "import sys, tensorrt_rtx\nsys.modules['bindings'] = tensorrt_rtx\n"
        )
        return version, [sys.executable], {**os.environ, "PYTHONPATH": str(folder)}
    need_tools()
    python = find_python310() if version == "8.5" else Path(sys.executable)
    folder = CACHE / f"{BINDINGS[version]}-{run_tool(python, '-c', SOABI).strip()}"
    if not folder.exists():
        if version == "8.5" and not os.environ.get("TRANSLATEKIT_TEST_TENSORRT_8"):
            pytest.skip(
                "TensorRT 8.5 is not in the cache; TRANSLATEKIT_TEST_TENSORRT_8=1 downloads 550 MB for it"
            )
        fetch_bindings(python, BINDINGS[version], folder)
    return (
        version,
        [str(python)],
        {**os.environ, "PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(folder / "stubs")},
    )


SOABI = "import sysconfig; print(sysconfig.get_config_var('SOABI'))"


def find_python310() -> Path:
    places = [*sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python")), shutil.which("python3.10")]
    for place in filter(None, places):
        if (
            subprocess.run([place, "--version"], capture_output=True).returncode == 0
        ):  # pyenv's shims may fail
            return Path(place)
    pytest.skip("there is no Python 3.10, the last that TensorRT 8.5 was made for")


def fetch_bindings(python: Path, requirement: str, folder: Path) -> None:
    """Unpack a wheel's bindings, without its libraries, and put empty ones in their place."""
    work = folder.with_name(folder.name + ".download")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [
        python,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        work,
        requirement,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    wheels = list(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip gives no reason"])[-1]
        pytest.skip(f"{requirement} cannot be had here: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in wheel.namelist():
            if name.endswith((".py", "/tensorrt.so")):
                wheel.extract(name, work / "site")
    library = next((work / "site").glob("*/tensorrt.so"))
    library.parent.rename(work / "site" / "bindings")
    library = work / "site" / "bindings" / "tensorrt.so"
    (work / "site" / "stubs").mkdir()
    needed = [
        line.split("[")[1].split("]")[0]
        for line in run_tool("readelf", "-d", library).splitlines()
        if "(NEEDED)" in line
    ]
    for name in needed:
        if name.startswith("libnv"):
            make_library(work / "site" / "stubs" / name, missing_functions(library))
    (work / "site").rename(folder)
    shutil.rmtree(work)
