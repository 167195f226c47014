"""Labels: which channels of which values are one and the same."""
