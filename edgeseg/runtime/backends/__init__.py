"""What computes a network: ONNX Runtime, OpenVINO, TensorRT."""
