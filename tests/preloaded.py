"""What processes of tests begin with: imported once, by the server that they are forked from."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import onnxruntime
import torch

import yoloprune.cli.case_study
import yoloprune.cli.main
import yoloprune.cli.train
import yoloprune.training.engine

__all__ = ["albumentations", "onnxruntime", "torch", "yoloprune"]

torch.set_num_threads(1)
