"""The ONNX door: any ONNX model as a graph, and back with everything else as it was."""
