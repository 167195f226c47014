"""Law 2 on many random Darknet networks: slim equals masked dense in float64, both ways of masking.

Usage: python -m tests.benchmarks.random_graphs [N]
"""

import sys
import time

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.test_cut import check_slim_equals_masked
from tests.random_networks import network_specs
from yoloprune.frontends.darknet.spec import NetworkSpec


def main() -> None:
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    worst = 0.0
    passed = 0

    @settings(max_examples=count, deadline=None, database=None)
    @given(spec=network_specs(), seed=st.integers(0, 2**16))
    def law(spec: NetworkSpec, seed: int) -> None:
        nonlocal worst, passed
        worst = max(worst, check_slim_equals_masked(spec, seed))
        passed += 1

    start = time.perf_counter()
    law()
    seconds = time.perf_counter() - start
    print(f"{passed} networks passed in {seconds:.0f} s; largest relative error {worst:.2g}")


if __name__ == "__main__":
    main()
