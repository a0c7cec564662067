"""Pix2Pix (Isola et al., 2017) and Pix2PixHD (Wang et al., 2018) as a translatekit plugin."""
