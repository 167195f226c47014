"""Darknet networks: .cfg text and .weights files, the networks in them, and their graphs."""
