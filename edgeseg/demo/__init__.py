"""A synthetic conveyor line and a small model trained on it, to try everything without a camera or data."""

from __future__ import annotations

from pathlib import Path

__all__ = ["checkpoint_path"]


def checkpoint_path() -> Path:
    """Path of the shipped checkpoint: a torchvision `MaskRCNN` in half precision, for 384x512 inputs."""
    return Path(__file__).with_name("conveyor.safetensors")
