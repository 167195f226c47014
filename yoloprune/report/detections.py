"""What was found in pictures and films, as data: for detections.json and detections.csv."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yoloprune.detection.decode import Detections

CSV_HEADER = (
    "file", "frame", "seconds", "network", "class", "name", "score",
    "left", "top", "right", "bottom",
)  # fmt: skip


def listed(found: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as plain data: box [left, top, right, bottom] in the picture's pixels."""
    return [
        {
            "box": [round(value, 2) for value in box],
            "score": round(score, 6),
            "class": label,
            "name": names[label],
        }
        for box, score, label in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


def pictures_of(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of a detections.json: of each image, and of each frame of each video."""
    yield from document["images"]
    for video in document["videos"]:
        for frame in video["frames"]:
            yield {"file": video["source"]} | frame


def detections_csv(document: Mapping[str, Any], titles: Sequence[str]) -> str:
    """A detections.json as a table, a line a detection; `titles` name the networks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for picture in pictures_of(document):
        place = (picture["file"], picture.get("frame", ""), picture.get("seconds", ""))
        lists = [picture["detections"]]
        if "compared" in picture:
            lists.append(picture["compared"]["detections"])
        for title, detections in zip(titles, lists, strict=True):
            writer.writerows(
                (*place, title, entry["class"], entry["name"], entry["score"], *entry["box"])
                for entry in detections
            )
    # A file's name may hold bytes that are no text.
    return text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8")
