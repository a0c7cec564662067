"""As much of TensorRT-RTX's runtime as translatekit uses: the fake TensorRT, and a runtime cache."""

import tensorrt
from tensorrt import *  # noqa: F403

__version__ = "1.7.1.116"
GPU = b"this GPU"


class RuntimeCache:
    def __init__(self):
        self.data = b""

    def deserialize(self, blob):
        self.data = bytes(blob) if blob.startswith(GPU) else b""
        return bool(self.data)

    def serialize(self):
        return self.data or GPU


class RuntimeConfig:
    cache = None

    def create_runtime_cache(self):
        return RuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class Engine(tensorrt.Engine):
    def create_runtime_config(self):
        return RuntimeConfig()

    def create_execution_context(self, runtime_config):
        assert runtime_config.cache is not None
        runtime_config.cache.data += b"+" if runtime_config.cache.data else GPU
        return super().create_execution_context()


tensorrt.Engine = Engine
