"""Images, boxes, masks and detections, and how they are drawn."""
