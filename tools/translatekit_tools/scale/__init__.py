"""Work that one machine is too small for, over a Ray cluster."""
