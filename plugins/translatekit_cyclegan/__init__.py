"""CycleGAN (Zhu et al., 2017) as a translatekit plugin."""
