"""As much of TensorRT as translatekit uses, over the driver in ``libcuda.c``: an engine that inverts its images.

Strict where the library is: wrong types, orders and shapes fail as they do there. That the names and signatures are
TensorRT's own is for `test_api` to check, which looks at the real bindings.
"""

import ctypes
import enum
import json
import os

import numpy as np

__version__ = os.environ.get("FAKE_TENSORRT", "10.16.1.11")
if "FAKE_ABORT" in os.environ:
    os.abort()

_cuda = ctypes.CDLL("libcuda.so.1")
_cuda.stub_invert.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_STRONG = not __version__.startswith("8")


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING


class IProgressMonitor:
    pass


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    if _STRONG:
        STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7
    if not _STRONG:
        FP16 = 0


class DataType(enum.IntEnum):
    FLOAT, UINT8 = 0, 5


class TacticSource(enum.IntEnum):
    EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS = 3, 4


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class Tensor:
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


class Network:
    def __init__(self, flags):
        self.flags = flags

    def get_input(self, index):
        return Tensor("image", tuple(json.loads(os.environ.get("FAKE_INPUT", "[-1, -1, -1, 3]"))))


class OnnxParser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse_from_file(self, model):
        assert type(model) is str
        with open(model, "rb") as file:  # noqa: PTH123
            self.network.graph = file.read()
        return "FAKE_HOSTILE" not in os.environ

    def get_error(self, index):
        class Error:
            def desc(self):
                return "Unsupported operator: Hostile"

        return Error()


class Profile:
    def set_shape(self, input, min, opt, max):
        assert input == "image"
        assert all(low <= middle <= high for low, middle, high in zip(min, opt, max, strict=True))
        self.shapes = [list(shape) for shape in (min, opt, max)]


class TimingCache:
    def __init__(self, data):
        self.data = data

    def serialize(self):
        return self.data + b"+"


class Config:
    progress_monitor = None

    def __init__(self):
        self.record = {"profiles": [], "cleared": [], "set": []}

    def clear_flag(self, flag):
        self.record["cleared"].append(flag.name)

    def set_flag(self, flag):
        self.record["set"].append(flag.name)

    def set_memory_pool_limit(self, pool, pool_size):
        assert type(pool_size) is int
        self.record["workspace"] = pool_size

    def set_tactic_sources(self, tactic_sources):
        self.record["tactics"] = tactic_sources
        return True

    def add_optimization_profile(self, profile):
        self.record["profiles"].append(profile.shapes)
        return len(self.record["profiles"]) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return TimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.record["timings"] = cache.data.decode()
        return not cache.data.startswith(b"foreign")


class Builder:
    def __init__(self, logger):
        self.logger = logger

    def create_network(self, flags):
        return Network(flags)

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building", None, 2)
            monitor.phase_start("Timing", "Building", 4)
            going_on = all(monitor.step_complete("Timing", step) for step in range(4))
            monitor.phase_finish("Timing")
            going_on = going_on and monitor.step_complete("Building", 0)
            monitor.phase_finish("Building")
            if not going_on:
                return None
        if "FAKE_FAILURE" in os.environ:
            self.logger.log(Severity.ERROR, os.environ["FAKE_FAILURE"])
            self.logger.log(Severity.ERROR, "something that follows")
            return None
        return json.dumps({**config.record, "flags": network.flags}).encode()


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            return Engine(json.loads(serialized_engine), self.logger)
        except ValueError:
            self.logger.log(Severity.ERROR, "Magic tag does not match")
            return None


class Engine:
    def __init__(self, plan, logger):
        self.plan, self.logger = plan, logger

    def get_tensor_dtype(self, name):
        assert name in ("image", "translated")
        return DataType.FLOAT if "FAKE_FLOAT" in os.environ else DataType.UINT8

    def create_execution_context(self):
        return Context(self.plan["profiles"], self.logger) if "FAKE_FULL" not in os.environ else None


class Context:
    def __init__(self, profiles, logger):
        self.logger = logger
        self.profiles, self.active_optimization_profile = profiles, 0
        self.shape, self.addresses = None, {}

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.active_optimization_profile, self.shape = profile_index, None
        return True

    def set_input_shape(self, name, shape):
        assert name == "image"
        low, _, high = self.profiles[self.active_optimization_profile]
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self.shape = shape if fits else None
        return fits

    def get_tensor_shape(self, name):
        assert name == "translated"
        return self.shape if "FAKE_UNKNOWN" not in os.environ else (-1, *self.shape[1:])

    def set_tensor_address(self, name, memory):
        assert type(memory) is int
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        assert self.shape is not None
        if self.shape[0] == int(os.environ.get("FAKE_FAILS_AT", 0)):
            self.logger.log(Severity.ERROR, "an illegal memory access")
            return False
        size = int(np.prod(self.shape)) * (4 if "FAKE_FLOAT" in os.environ else 1)
        return (
            _cuda.stub_invert(stream_handle, self.addresses["translated"], self.addresses["image"], size) == 0
        )
