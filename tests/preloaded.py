"""What processes of tests begin with: imported once, by the server that they are forked from."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import matplotlib.backends.backend_agg
import onnxruntime
import torch._dynamo  # Which optimizers import.

import yoloprune.cli.case_study
import yoloprune.cli.main
import yoloprune.cli.train
import yoloprune.training.engine

__all__ = ["albumentations", "matplotlib", "onnxruntime", "torch", "yoloprune"]

torch.set_num_threads(1)
