"""What ships to the device: a frame in, detections out. Never imports torch or onnx."""
