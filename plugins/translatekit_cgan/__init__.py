"""Conditional GAN (Mirza and Osindero, 2014) as a translatekit plugin."""
