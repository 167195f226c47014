"""From a file format to a graph, and back: one package a format."""
