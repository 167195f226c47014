"""Images a second of the training loop, as a share of the bare forward + backward pass.

The loop is all of it: one loader process, augmentation, loss, optimizer, moving average.
The bare pass is the same network on one ready batch, with the sum of its outputs' squares as loss.
It is timed before and after the loop, in the same process.
Usage: python tests/benchmarks/training_speed.py CFG DATA [IMAGE_SIZE] [BATCH_SIZE] [PRECISION]
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from yoloprune.data.loader import TrainingImages, micro_batches
from yoloprune.data.read import read_dataset
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import class_count, with_input_size
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import world
from yoloprune.training.loop import Loop
from yoloprune.training.step import training_step

STEPS, WARMUP = 20, 5


def timed(step: Callable[[], object]) -> list[float]:
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds[WARMUP:]


def main() -> None:
    cfg, data = Path(sys.argv[1]), Path(sys.argv[2])
    size, batch_size = (int(text) for text in (*sys.argv[3:5], "320", "16")[:2])
    precision = sys.argv[5] if len(sys.argv) > 5 else "float32"
    spec = with_input_size(read_cfg(cfg), size, size)
    dataset = read_dataset(data, classes=class_count(spec), split="train")
    config = TrainingConfig(image_size=size, batch_size=batch_size, precision=precision, mosaic=0.5)
    images = TrainingImages(dataset, augment=True, mosaic=config.mosaic, seed=0)
    images.fill_cache()
    with world() as here:
        steps = len(dataset.images) // batch_size
        network = model(spec, training_state(spec), title=cfg.stem)
        loop = Loop(network, config, here, steps, None, {})
        ready = torch.rand(batch_size, 3, size, size).contiguous(memory_format=torch.channels_last)

        def bare() -> None:
            half = precision != "float32"
            with torch.autocast("cpu", torch.bfloat16 if half else None, enabled=half):
                maps = loop.network(ready)
            torch.autograd.backward(torch.stack([m.float().square().sum() for m in maps]).sum())
            loop.network.zero_grad(set_to_none=True)

        before = timed(bare)
        batches = micro_batches(
            images, batch_size=batch_size, parts=1, own_parts=range(1), epoch=0, first_step=0,
            base_size=(size, size), multi_scale=0.0, workers=1,
        )  # fmt: skip
        whole = timed(lambda: training_step(loop, [next(batches)]))
        batches.close()
        after = timed(bare)
    passes = statistics.median(before + after)
    # The mean: a step that waits for its batch counts in full.
    loop_seconds = statistics.mean(whole)
    print(f"{cfg.name} at {size}, batch {batch_size}, {precision}")
    print(f"bare pass      {batch_size / passes:6.1f} images/s")
    print(f"training loop  {batch_size / loop_seconds:6.1f} images/s")
    print(f"share          {passes / loop_seconds:6.3f}")


if __name__ == "__main__":
    main()
