"""Mask R-CNN written anew as one static, batch-first network."""
