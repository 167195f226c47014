"""The table of export formats."""

from collections.abc import Mapping
from pathlib import Path

from yoloprune.errors import UsageError
from yoloprune.exporters.format import ExportFormat
from yoloprune.exporters.onnx import ONNX

FORMATS: Mapping[str, ExportFormat] = {row.name: row for row in (ONNX,)}


def format_of(path: Path) -> ExportFormat:
    """The format that a file's suffix says; raises `UsageError` if none has it."""
    for row in FORMATS.values():
        if path.suffix.lower() == row.suffix:
            return row
    known = ", ".join(f"{row.suffix} ({row.name})" for row in FORMATS.values())
    raise UsageError(f"{path}: no export format has this suffix: choose one of {known}")
