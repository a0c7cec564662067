"""The tools of translatekit: backends, bulk translation, import of checkpoints, the demo."""
