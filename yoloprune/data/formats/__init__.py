"""Formats of labelled data sets: a module each, from a path to a `RawDataset`."""
