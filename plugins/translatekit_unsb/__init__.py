"""UNSB, the unpaired neural Schrödinger bridge (Kim et al., 2024), as a translatekit plugin."""
