"""The generator tiny for translatekit."""
