"""Annotated images in COCO's format, and the scoring of detections on them."""
