"""Time layers where a network is to run, with onnxruntime alone: time_layers.py FOLDER [THREADS].

FOLDER is what `yoloprune inspect NETWORK --layers FOLDER` wrote. FOLDER/timings.csv is then what
`yoloprune prune NETWORK --keep-ms 0.5 --timings FOLDER/timings.csv` reads.
"""

import csv
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(sys.argv[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1


@cache
def fastest(name: str, enough: float = 0.012) -> float:
    """Milliseconds of the fastest run of a model, after two that do not count."""
    session = onnxruntime.InferenceSession(
        folder / name, options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    # A size that may be any, which is the number of images, is 1.
    shape = [size if isinstance(size, int) else 1 for size in given.shape]
    kind = np.uint8 if "uint8" in given.type else np.float16 if "16" in given.type else np.float32
    feed, times = {given.name: np.ones(shape, kind)}, []
    while len(times) < 7 or (len(times) < 200 and sum(times[2:]) < enough):
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times[2:])


def around(room: str) -> float:
    """Milliseconds of going from few channels to a layer's, or back."""
    return max(fastest(f"{room}_twice.onnx") - fastest(f"{room}_once.onnx"), 0) / 2


with (folder / "layers.csv").open(newline="") as listed:
    rows = list(csv.DictReader(listed))
columns = [name for name in rows[0] if name not in ("file", "copies", "before", "after")]
with (folder / "timings.csv").open("w", newline="") as file:
    table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for number, row in enumerate(rows, 1):
        first, last = row["before"], row["after"]
        both = around(first) + around(last)
        whole = fastest(row["file"]) - fastest(f"{first}_once.onnx") + 2 * around(first)
        row["ms"] = f"{max(whole / int(row['copies']) - both, 1e-4):.6g}"
        table.writerow(row)
        print(f"\r{number} of {len(rows)} layers", end="", flush=True)
    network = {columns[0]: "network", "ms": f"{fastest('network.onnx', 1.2):.6g}"}
    table.writerow(network)
print(f"\n{folder / 'timings.csv'}: done")
