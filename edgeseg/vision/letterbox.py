"""Fitting a frame of any size into the network's input, and boxes back into the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeseg.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """Where a frame lies in the network's input: at the upper left, as large as fits, its shape kept.

    Attributes:
        frame_size_hw: Height and width of the frame, in pixels.
        input_size_hw: Height and width of the network's input.
    """

    frame_size_hw: tuple[int, int]
    input_size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.frame_size_hw) < 1:
            msg = f"a frame must have at least one pixel, got {self.frame_size_hw[0]}x{self.frame_size_hw[1]}"
            raise InputError(msg)

    @property
    def scale(self) -> float:
        """Input pixels for one frame pixel."""
        return min(
            available / side for available, side in zip(self.input_size_hw, self.frame_size_hw, strict=True)
        )

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Size of the frame inside the input: whole pixels, at least one."""
        pairs, scale = zip(self.input_size_hw, self.frame_size_hw, strict=True), self.scale
        height, width = (min(available, max(1, round(side * scale))) for available, side in pairs)
        return height, width

    def fit(self, frame: NDArray[np.uint8], target: NDArray[np.uint8], pad_bgr: tuple[int, int, int]) -> None:
        """Write a frame into the network's input.

        Args:
            frame: `uint8[H, W, 3]`, BGR, of `frame_size_hw`.
            target: `uint8[H, W, 3]` of `input_size_hw`; overwritten.
            pad_bgr: Colour right of and below the frame.
        """
        height, width = self.resized_hw
        # Bilinear without antialiasing, as torchvision resizes in training.
        cv2.resize(frame, (width, height), dst=target[:height, :width], interpolation=cv2.INTER_LINEAR)
        target[:height, width:] = pad_bgr
        target[height:] = pad_bgr

    def to_frame(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map `float32[N, 4]` boxes from input pixels to frame pixels, clipped to the frame."""
        return boxes_from_resized(boxes_xyxy, self.resized_hw, self.frame_size_hw)


def boxes_from_resized(
    boxes_xyxy: NDArray[np.float32], resized_hw: tuple[int, int], frame_size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Map `float32[N, 4]` boxes from a resized frame to the frame, clipped to it."""
    height, width = frame_size_hw
    # Rounding to whole pixels makes the two scales differ a little, so each axis has its own; in double
    # precision, so that the whole input is the whole frame and not a hair less.
    scale = np.array((width, height)) / np.array(resized_hw[::-1])
    boxes: NDArray[np.float64] = (boxes_xyxy.reshape(-1, 2, 2) * scale).clip(0, (width, height))
    return boxes.reshape(-1, 4).astype(np.float32)


def letterbox_batch(
    frames: Sequence[NDArray[np.uint8]], spec: ModelSpec
) -> tuple[NDArray[np.uint8], list[Letterbox]]:
    """Fit frames into one input of the network.

    Args:
        frames: `uint8[H, W, 3]` BGR each, at most `spec.batch` of them.
        spec: Says how large the input is and what pads it.

    Returns:
        `uint8[B, H, W, 3]`, black where there is no frame, and where each frame lies in it.
    """
    images = np.zeros((spec.batch, *spec.input_size_hw, 3), np.uint8)
    boxes = [Letterbox(frame_size_hw=frame.shape[:2], input_size_hw=spec.input_size_hw) for frame in frames]
    for box, frame, target in zip(boxes, frames, images, strict=False):
        box.fit(frame, target, spec.preprocess.pad_bgr)
    return images, boxes
