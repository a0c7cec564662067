"""Networks as ONNX graphs: export, and what is done to a graph for the runtimes that take it."""
