"""Annotated images in COCO's format, and how detections are scored on them."""
