"""Files of data sets without content: most tests here open no image."""

from pathlib import Path


def touch(root: Path, *names: str) -> None:
    """Files without content: nothing here opens an image."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def label(root: Path, name: str, text: str = "0 0.5 0.5 0.5 0.5\n") -> None:
    touch(root, name)
    (root / name).write_text(text)
