"""Formats of labeled data sets: a module each, from a path to a `RawDataset`."""
