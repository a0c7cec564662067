"""Compiling trained models for other runtimes."""
