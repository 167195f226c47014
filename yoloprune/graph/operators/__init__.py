"""ONNX's operators, a row each: how labels go through, how torch computes, shapes, and cost."""
