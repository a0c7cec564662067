"""Loggers of other projects: MLflow, Weights & Biases, Trackio."""
