"""The commands of the tools: one small module each, nothing heavy imported before a command runs."""
