"""CUDA without torch: is there a GPU, and its memory, streams and context by cuda-bindings or pycuda."""
