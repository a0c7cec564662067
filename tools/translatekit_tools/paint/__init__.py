"""``translatekit paint``: a page to draw on, served from this machine, and the translation beside it."""
