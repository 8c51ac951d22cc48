"""ONNX graphs: read, counted and rewritten, without running them and without torch."""
