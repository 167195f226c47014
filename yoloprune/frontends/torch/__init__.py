"""The torch door: any module as a graph, and back into the module's own tensors and sizes."""
