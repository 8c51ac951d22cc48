"""A synthetic conveyor line and a small model trained on it, to try everything without a camera or data."""

from __future__ import annotations

from pathlib import Path

__all__ = ["checkpoint_path"]


def checkpoint_path() -> Path:
    """Path of the shipped checkpoint: torchvision `MaskRCNN`, half precision, for inputs of 384x512 pixels."""
    return Path(__file__).with_name("conveyor.safetensors")
