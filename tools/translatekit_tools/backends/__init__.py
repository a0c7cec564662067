"""Backends: what runs a model file. Each module has `load`, a `translatekit.interfaces.Backend`."""
