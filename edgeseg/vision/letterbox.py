"""Fitting a frame of any size into the network's input, and mapping boxes back to the frame."""

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
    """Where a frame lies in the network's input: at the upper left, as large as fits at its aspect ratio.

    Attributes:
        frame_size_hw: Height and width of the frame, in pixels.
        input_size_hw: Height and width of the network's input, in pixels.

    Raises:
        InputError: The frame has no pixels.

    Example:
        >>> box = Letterbox(frame_size_hw=(1080, 1920), input_size_hw=(800, 1344))
        >>> box.scale, box.resized_hw
        (0.7, (756, 1344))
        >>> box.to_frame(np.array([(0, 0, 672, 378)], np.float32)).tolist()
        [[0.0, 0.0, 960.0, 540.0]]
    """

    frame_size_hw: tuple[int, int]
    input_size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        if min(self.frame_size_hw) < 1:
            msg = f"a frame must have at least one pixel, got {self.frame_size_hw[0]}x{self.frame_size_hw[1]}"
            raise InputError(msg)

    @property
    def scale(self) -> float:
        """Size of a frame pixel in the input, in input pixels."""
        return min(
            available / side for available, side in zip(self.input_size_hw, self.frame_size_hw, strict=True)
        )

    @property
    def resized_hw(self) -> tuple[int, int]:
        """Height and width of the frame inside the input: whole pixels, at least one."""
        pairs, scale = zip(self.input_size_hw, self.frame_size_hw, strict=True), self.scale
        height, width = (min(available, max(1, round(side * scale))) for available, side in pairs)
        return height, width

    def fit(self, frame: NDArray[np.uint8], target: NDArray[np.uint8], pad_bgr: tuple[int, int, int]) -> None:
        """Write a frame into the network's input.

        Args:
            frame: `uint8[H, W, 3]`, BGR, of `frame_size_hw`.
            target: `uint8[H, W, 3]` of `input_size_hw`; overwritten.
            pad_bgr: Colour to the right of the frame and below it.

        Example:
            >>> target = np.zeros((4, 8, 3), np.uint8)
            >>> box = Letterbox(frame_size_hw=(2, 3), input_size_hw=(4, 8))
            >>> box.fit(np.full((2, 3, 3), 255, np.uint8), target, pad_bgr=(0, 0, 0))
            >>> target[0, :, 0].tolist()
            [255, 255, 255, 255, 255, 255, 0, 0]
        """
        height, width = self.resized_hw
        # Bilinear without antialiasing, as torchvision resizes in training.
        cv2.resize(frame, (width, height), dst=target[:height, :width], interpolation=cv2.INTER_LINEAR)
        target[:height, width:] = pad_bgr
        target[height:] = pad_bgr

    def to_frame(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map `float32[N, 4]` boxes xyxy from input pixels to frame pixels, clipped to the frame."""
        return boxes_from_resized(boxes_xyxy, self.resized_hw, self.frame_size_hw)


def boxes_from_resized(
    boxes_xyxy: NDArray[np.float32], resized_hw: tuple[int, int], frame_size_hw: tuple[int, int]
) -> NDArray[np.float32]:
    """Map boxes from a resized frame to the frame, and clip them to it.

    Args:
        boxes_xyxy: `float32[N, 4]`, in pixels of the resized frame.
        resized_hw: Height and width of the resized frame, in pixels.
        frame_size_hw: Height and width of the frame, in pixels.

    Returns:
        `float32[N, 4]`, in pixels of the frame.

    Example:
        >>> boxes = np.array([(10, 10, 50, 99)], np.float32)
        >>> boxes_from_resized(boxes, (90, 160), (1080, 1920)).tolist()
        [[120.0, 120.0, 600.0, 1080.0]]
    """
    height, width = frame_size_hw
    # Rounding to whole pixels makes the two scales differ a little, so each axis has its own. In single
    # precision a box over the whole input could end short of the frame's edge.
    scale = np.array((width, height)) / np.array(resized_hw[::-1])
    boxes: NDArray[np.float64] = (boxes_xyxy.reshape(-1, 2, 2) * scale).clip(0, (width, height))
    return boxes.reshape(-1, 4).astype(np.float32)


def letterbox_batch(
    frames: Sequence[NDArray[np.uint8]], spec: ModelSpec
) -> tuple[NDArray[np.uint8], list[Letterbox]]:
    """Fit frames into one batch of the network's input.

    Args:
        frames: At most `spec.batch` frames, each `uint8[H, W, 3]`, BGR.
        spec: The model; it gives the input's size and padding.

    Returns:
        `uint8[B, H, W, 3]`, BGR, with black images if there are fewer frames than B; and where each frame
        lies in its image.

    Raises:
        InputError: A frame has no pixels.

    Example:
        >>> import edgeseg
        >>> spec = edgeseg.load("edgeseg-model").spec
        >>> images, boxes = letterbox_batch([np.zeros((480, 640, 3), np.uint8)], spec)
        >>> images.shape, boxes[0].resized_hw
        ((1, 64, 96, 3), (64, 85))
    """
    images = np.zeros((spec.batch, *spec.input_size_hw, 3), np.uint8)
    boxes = [Letterbox(frame_size_hw=frame.shape[:2], input_size_hw=spec.input_size_hw) for frame in frames]
    for box, frame, target in zip(boxes, frames, images, strict=False):
        box.fit(frame, target, spec.preprocess.pad_bgr)
    return images, boxes
