"""Mask R-CNN rewritten as one network with static shapes and the batch as first dimension."""
