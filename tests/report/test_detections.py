import torch

from yoloprune.detection.decode import Detections
from yoloprune.report.detections import CSV_HEADER, detections_csv, listed, pictures_of

FOUND = Detections(
    boxes_xyxy=torch.tensor([[0.126, 1, 2, 3]]),
    scores=torch.tensor([0.5]),
    labels=torch.tensor([1]),
)
ENTRY = {"box": [0.13, 1, 2, 3], "score": 0.5, "class": 1, "name": "foot"}


def test_detections_are_plain_data() -> None:
    assert listed(FOUND, ("hand", "foot")) == [ENTRY]


def test_a_table_has_a_line_a_detection_of_pictures_and_frames() -> None:
    document = {
        "images": [{"file": "a\udcff.png", "detections": [ENTRY], "compared": {"detections": []}}],
        "videos": [
            {
                "source": "b.mp4",
                "frames": [
                    {
                        "frame": 3,
                        "seconds": 0.5,
                        "detections": [ENTRY, ENTRY],
                        "compared": {"detections": [ENTRY]},
                    }
                ],
            }
        ],
    }
    assert [picture["file"] for picture in pictures_of(document)] == ["a\udcff.png", "b.mp4"]
    header, *rows = detections_csv(document, ("net", "thin")).splitlines()
    assert header.split(",") == list(CSV_HEADER)
    assert rows == [
        r"a\udcff.png,,,net,1,foot,0.5,0.13,1,2,3",
        "b.mp4,3,0.5,net,1,foot,0.5,0.13,1,2,3",
        "b.mp4,3,0.5,net,1,foot,0.5,0.13,1,2,3",
        "b.mp4,3,0.5,thin,1,foot,0.5,0.13,1,2,3",
    ]
