"""torchvision's model, rebuilt from a checkpoint."""
