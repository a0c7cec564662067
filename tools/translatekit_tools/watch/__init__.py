"""Watching runs: their curves, samples and troubles, in a page that follows them and in text."""
