"""Pix2Pix (Isola et al., 2017) as a translatekit plugin."""
