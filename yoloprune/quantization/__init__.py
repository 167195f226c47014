"""int8 networks for ONNX Runtime: ranges from images, and what is left in float."""
