"""A name of characters that a terminal would obey, and what is shown of it."""

NASTY = "a\x1b[31m\nb\u202ec\x9b\x00\u2028\udcff"
SEEN = r"a\x1b[31m\nb\u202ec\x9b\x00\u2028\udcff"
