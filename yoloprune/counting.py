"""Numbers of things in messages."""


def counted(count: int, noun: str) -> str:
    """How many there are of something: "1 image", "2,048 images", "2 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"
