"""What ships to the device: an image in, detections out. Never imports torch or onnx."""
