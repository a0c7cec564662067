"""CUT and FastCUT (Park et al., 2020) as a translatekit plugin."""
