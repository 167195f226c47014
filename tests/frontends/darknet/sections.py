"""Sections of a cfg."""

NET = "[net]\nchannels=3\nheight={0}\nwidth={0}\n"


def conv(filters: int, size: int = 1, more: str = "") -> str:
    return f"[convolutional]\nfilters={filters}\nsize={size}\npad=1\nactivation=leaky\n{more}"
