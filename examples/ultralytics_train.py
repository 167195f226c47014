"""Prune an Ultralytics detector, recover it, train it on in its own trainer, export it.

ultralytics_train.py WEIGHTS DATA [EPOCHS], as yolov8n.pt coco128.yaml 10. Needs
`pip install 'yoloprune[modules]' ultralytics`. Ultralytics is under AGPL-3.0: what is made with it
may be too. Its own loader unpickles WEIGHTS: give only files that you trust.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics import YOLO
from ultralytics.cfg import get_cfg
from ultralytics.data import build_yolo_dataset
from ultralytics.data.utils import check_det_dataset
from ultralytics.models.yolo.detect import DetectionTrainer

import yoloprune

SIDE, KEEP, IMAGES = 640, 0.7, 64


def prepared(detector: nn.Module) -> nn.Module:
    """The same detector, giving boxes and scores alone, not the maps that they are made of."""
    head = detector.model[-1]
    head.export, head.format = True, "onnx"
    return detector.eval()


def images_of(data: str) -> Tensor:
    """Some of the training images, as the detector reads them: (N, 3, SIDE, SIDE) in [0, 1]."""
    known = check_det_dataset(data)
    settings = get_cfg(overrides={"imgsz": SIDE})
    # Not augmented.
    dataset = build_yolo_dataset(settings, known["train"], IMAGES, known, mode="val")
    count = min(IMAGES, len(dataset))
    return torch.stack([dataset[number]["img"] for number in range(count)]).float() / 255


def both(found: Any) -> tuple[Tensor, ...]:
    """Boxes and scores of a detector with a second head for training, and both heads' maps."""
    result, maps = found
    heads = [maps[name] for name in ("one2many", "one2one")]
    return (result, *(head[kind] for head in heads for kind in ("boxes", "scores")))


def main(weights: str, data: str, epochs: int) -> None:
    """Prune, recover, train, save the slim detector without pickle, export."""
    yolo = YOLO(weights)
    yolo.model.float()
    image = torch.rand(1, 3, SIDE, SIDE)
    detector = prepared(yolo.model)
    # YOLOv10 and YOLO26: a head that gives nothing when it is exported.
    second = getattr(detector.model[-1], "one2one_cv2", None) is not None
    detector.model[-1].export = not second
    dense = yoloprune.load_module(detector, image, outputs=both if second else None)
    cut = yoloprune.recover(yoloprune.prune(dense, {"macs": KEEP}), images_of(data))
    print(cut)
    slim = cut.apply(yolo.model)
    slim.model[-1].export = False
    for parameter in slim.parameters():
        parameter.requires_grad = True

    class Trainer(DetectionTrainer):
        """Trains the slim detector, not one built anew from its yaml."""

        def get_model(self, *args: Any, **settings: Any) -> nn.Module:
            """The slim detector."""
            return slim

    trainer = Trainer(overrides={"model": weights, "data": data, "epochs": epochs, "imgsz": SIDE})
    trainer.train()
    trained = trainer.ema.ema.float().cpu() if trainer.ema else slim
    cut.save_module(trained, "slim.safetensors")
    # The definition, and what it became.
    again = yoloprune.load_slim(YOLO(weights).model.float(), "slim.safetensors")
    torch.onnx.export(prepared(again), (image,), "slim.onnx", dynamo=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
