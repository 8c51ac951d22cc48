"""Read, analyse and rewrite ONNX graphs, without running them and without torch."""
