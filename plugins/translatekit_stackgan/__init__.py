"""StackGAN (Zhang et al., 2017) as a translatekit plugin."""
