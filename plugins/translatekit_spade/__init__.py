"""SPADE (Park et al., 2019) as a translatekit plugin."""
