"""The version of translatekit, apart from the package so that modules below it can write it into files."""

__version__ = "0.1.0"
