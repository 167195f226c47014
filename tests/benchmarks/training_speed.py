"""Images a second of the training loop, as a share of the bare forward + backward pass.

The loop is all of it: data and augmentation, loss, optimizer, moving average. On a CPU one loader
process makes the samples; on a GPU the images lie there. The bare pass is the same network on one
ready batch, with the sum of its outputs' squares as loss. It is timed before and after the loop, in
the same process, on a GPU also recorded as the loop's own passes are; data and augmentation alone
are timed as well, and on a GPU the loader beside.
Usage: python tests/benchmarks/training_speed.py CFG DATA [IMAGE_SIZE] [BATCH_SIZE] [PRECISION]
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoloprune.data.device_images import DeviceImages
from yoloprune.data.loader import TrainingImages, micro_batches
from yoloprune.data.read import read_dataset
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import class_count, with_input_size
from yoloprune.training.captured import CapturedPass
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import world
from yoloprune.training.loop import Loop
from yoloprune.training.step import capture, training_step

STEPS, WARMUP, LOADERS = 20, 5, 12


def main() -> None:
    cfg, data = Path(sys.argv[1]), Path(sys.argv[2])
    size, batch_size = (int(text) for text in (*sys.argv[3:5], "320", "16")[:2])
    precision = sys.argv[5] if len(sys.argv) > 5 else "float32"
    spec = with_input_size(read_cfg(cfg), size, size)
    dataset = read_dataset(data, classes=class_count(spec), split="train")
    config = TrainingConfig(image_size=size, batch_size=batch_size, precision=precision, mosaic=0.5)
    epoch: dict[str, Any] = {
        "batch_size": batch_size, "parts": 1, "own_parts": range(1), "epoch": 0, "first_step": 0,
        "base_size": (size, size), "multi_scale": 0.0,
    }  # fmt: skip
    with world() as here:
        device = here.device
        steps = len(dataset.images) // batch_size
        network = model(spec, training_state(spec), title=cfg.stem)
        loop = Loop(network, config, here, steps, None, {})
        ready = torch.rand(batch_size, 3, size, size, device=device)
        ready = ready.contiguous(memory_format=torch.channels_last)

        def timed(step: Callable[[], object]) -> float:
            """Seconds a step: a mean, so that one that waits for its batch counts in full."""
            for _ in range(WARMUP):
                step()
            _finish(device)
            start = time.perf_counter()
            for _ in range(STEPS - WARMUP):
                step()
            _finish(device)
            return (time.perf_counter() - start) / (STEPS - WARMUP)

        def passed(images: Tensor) -> Tensor:
            half = precision != "float32"
            with torch.autocast(
                device.type, torch.bfloat16 if half else None, enabled=half, cache_enabled=False
            ):
                maps = loop.network(images)
            loss = torch.stack([m.float().square().sum() for m in maps]).sum()
            torch.autograd.backward(loss)
            return loss.detach()

        def bare() -> None:
            passed(ready)
            loop.network.zero_grad(set_to_none=True)

        rows = {"bare pass": timed(bare)}
        if device.type == "cuda":
            recorded = CapturedPass(loop.network, passed)
            rows["bare pass, recorded"] = timed(lambda: recorded(ready))
            recorded.forget()
            loop.network.zero_grad(set_to_none=True)
        capture(loop)
        loaded = TrainingImages(dataset, augment=True, mosaic=config.mosaic, seed=0)
        loaded.fill_cache()
        making = partial(micro_batches, loaded, **epoch, workers=1)
        if device.type == "cuda":
            with closing(micro_batches(loaded, **epoch, workers=LOADERS)) as batches:
                rows[f"{LOADERS} loader processes"] = timed(lambda: next(batches))
            making = partial(
                DeviceImages(
                    dataset, augment=True, mosaic=config.mosaic, seed=0, channels=3, longest=size,
                    device=device,
                ).batches,
                **epoch,
            )  # fmt: skip
        with closing(making()) as batches:
            rows["data and augmentation alone"] = timed(lambda: next(batches))
        with closing(making()) as batches:
            rows["training loop"] = timed(lambda: training_step(loop, [next(batches)]))
        rows["bare pass again"] = timed(bare)
    passes = (rows["bare pass"] + rows["bare pass again"]) / 2
    print(f"{cfg.name} at {size}, batch {batch_size}, {precision}, {device.type}")
    for name, seconds in rows.items():
        print(f"{name:28} {batch_size / seconds:8.1f} images/s  {1000 * seconds:8.2f} ms a step")
    print(f"{'loop against the bare pass':28} {passes / rows['training loop']:8.3f}")
    print(f"{'seconds an epoch':28} {rows['training loop'] * steps:8.2f} of {steps} steps")


def _finish(device: torch.device) -> None:
    """Wait for all that a GPU has still to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
