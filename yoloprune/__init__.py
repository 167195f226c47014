"""Structural pruning for Darknet YOLO detectors."""
