"""A synthetic conveyor scene with exact ground truth, for demonstrations and tests without a camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import InputError

from .belt import backdrop_light, belt_tile, paint_rails, rail_px
from .layout import BeltLayout, Placement
from .parts import PART_NAMES
from .shading import Light, Sprite, render_part

__all__ = ["PART_NAMES", "ConveyorFrame", "ConveyorScene"]

MIN_VISIBLE = 0.15
"""A part is in the truth once this share of its own pixels can be seen."""

NOISE_LEVEL = 3.0
"""Standard deviation of the sensor noise, in grey levels out of 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConveyorFrame:
    """One frame and what is in it.

    Attributes:
        index: Frame number, from 0.
        image: `uint8[H, W, 3]` BGR.
        labels: `int64[N]`, 1-based indices into `PART_NAMES`.
        boxes_xyxy: `float32[N, 4]` in pixels, tight around the visible pixels: `x2` is one past the last one.
        masks: `bool[N, H, W]`, the visible pixels of each part; no pixel is in two masks.
        track_ids: `int64[N]`, one number per physical part, the same in every frame it is seen in.
        visible: `float32[N]`, seen share of the part's own pixels, `MIN_VISIBLE` to 1.
    """

    index: int
    image: NDArray[np.uint8]
    labels: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    masks: NDArray[np.bool_]
    track_ids: NDArray[np.int64]
    visible: NDArray[np.float32]


class ConveyorScene:
    """Parts of several classes carried from left to right past a fixed camera."""

    def __init__(
        self,
        *,
        seed: int,
        size_hw: tuple[int, int] = (480, 640),
        speed_px: float = 6.0,
        spacing_px: float = 40.0,
    ) -> None:
        """Set the scene up; frames are rendered when asked for.

        Args:
            seed: The same seed and arguments give the same frames, whatever the order they are asked in.
            size_hw: `(height, width)` of the frames in pixels, each at least 160. Parts scale
                with the height.
            speed_px: Belt speed in pixels a frame; parts lie on whole pixels, so a fraction is
                rounded frame by frame.
            spacing_px: Mean length of belt per part, in pixels of a frame 480 high. Smaller is more crowded.

        Raises:
            InputError: A size, the speed or the spacing is out of range.
        """
        if min(size_hw) < 160:
            message = (
                f"a conveyor frame must be at least 160 pixels high and wide, got {size_hw[0]}x{size_hw[1]}"
            )
            raise InputError(message)
        if speed_px < 0 or spacing_px <= 0 or seed < 0:
            message = (
                f"seed and speed_px must be >= 0 and spacing_px > 0, got {seed}, {speed_px}, {spacing_px}"
            )
            raise InputError(message)
        height, width = size_hw
        rng = np.random.default_rng([seed, 0])
        margin = rail_px(height) + 2
        self.size_hw, self.speed_px = size_hw, speed_px
        self._light = _draw_light(rng)
        self._belt = belt_tile((height, 2 * width), rng)
        self._fall_off = backdrop_light(size_hw, rng)
        self._rails = paint_rails(size_hw, rng)
        self._noise = rng.normal(0, NOISE_LEVEL, (height + 64, width + 64, 3)).astype(np.float32)
        self._seed = seed
        self._layout = BeltLayout(
            seed=seed,
            start_px=-1.5 * width,
            rows_px=(margin, height - margin),
            unit=height / 480,
            spacing_px=spacing_px,
        )
        self._sprites: dict[int, Sprite] = {}

    def frame(self, index: int) -> ConveyorFrame:
        """Render one frame.

        Args:
            index: Frame number, from 0; any order is allowed.

        Returns:
            The image and its exact truth.

        Raises:
            InputError: `index` is negative.
        """
        if index < 0:
            message = f"a frame number must be >= 0, got {index}"
            raise InputError(message)
        travelled = round(self.speed_px * index)
        height, width = self.size_hw
        parts = self._layout.between(travelled - width, travelled)
        self._sprites = {p.track_id: self._sprite(p) for p in parts}
        canvas = np.roll(self._belt, travelled % (2 * width), axis=1)[:, :width].copy()
        instance_map = np.zeros((height, width), dtype=np.int32)
        for part in parts:
            top_left = (round(part.across_px), round(travelled - part.along_px))
            _paste(canvas, instance_map, self._sprites[part.track_id], top_left, part.track_id)
        return self._frame_with_truth(index, self._render_image(canvas, index), instance_map, parts)

    def _sprite(self, part: Placement) -> Sprite:
        known = self._sprites.get(part.track_id)
        if known is not None:
            return known
        rng = np.random.default_rng([self._seed, 2, part.seed])
        return render_part(part.label, part.radius_px, part.angle_rad, self._light, rng)

    def _render_image(self, canvas: NDArray[np.float32], index: int) -> NDArray[np.uint8]:
        cover = self._rails[..., 3:]
        shaded = (canvas * (1 - cover) + self._rails[..., :3] * cover) * self._fall_off
        rng = np.random.default_rng([self._seed, 3, index])
        dy, dx = rng.integers(0, 64, 2)
        height, width = self.size_hw
        blurred = cv2.GaussianBlur(shaded, (0, 0), 0.6) + self._noise[dy : dy + height, dx : dx + width]
        return np.asarray(np.clip(blurred, 0, 255), dtype=np.uint8)

    def _frame_with_truth(
        self, index: int, image: NDArray[np.uint8], instance_map: NDArray[np.int32], parts: list[Placement]
    ) -> ConveyorFrame:
        last = parts[-1].track_id if parts else 0
        visible_areas = np.bincount(instance_map.ravel(), minlength=last + 1)
        full_areas = {p.track_id: int(self._sprites[p.track_id].solid.sum()) for p in parts}
        kept = [p for p in parts if visible_areas[p.track_id] >= MIN_VISIBLE * full_areas[p.track_id]]
        ids = np.array([p.track_id for p in kept], dtype=np.int64)
        masks = instance_map[None] == ids[:, None, None].astype(np.int32)
        return ConveyorFrame(
            index=index,
            image=image,
            labels=np.array([p.label for p in kept], dtype=np.int64),
            boxes_xyxy=boxes_from_masks(masks),
            masks=masks,
            track_ids=ids,
            visible=np.array(
                [visible_areas[p.track_id] / full_areas[p.track_id] for p in kept], dtype=np.float32
            ),
        )


def boxes_from_masks(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Tight boxes around masks.

    Args:
        masks: `bool[N, H, W]`, each with at least one pixel.

    Returns:
        `float32[N, 4]` xyxy in pixels, `x2` and `y2` one past the last pixel.
    """
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for row, mask in zip(boxes, masks, strict=True):
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        row[:] = (x, y, x + w, y + h)
    return boxes


def _draw_light(rng: np.random.Generator) -> Light:
    bearing, elevation = rng.uniform(np.pi, 1.75 * np.pi), rng.uniform(0.75, 1.05)
    horizontal = np.cos(elevation)
    x, y, z = (
        float(horizontal * np.cos(bearing)),
        float(horizontal * np.sin(bearing)),
        float(np.sin(elevation)),
    )
    return Light(direction=(x, y, z), ambient=float(rng.uniform(0.28, 0.42)))


def _paste(
    canvas: NDArray[np.float32],
    instance_map: NDArray[np.int32],
    sprite: Sprite,
    centre_yx: tuple[int, int],
    track_id: int,
) -> None:
    half = sprite.alpha.shape[0] // 2
    top, left = centre_yx[0] - half, centre_yx[1] - half
    height, width = instance_map.shape
    y1, x1 = max(top, 0), max(left, 0)
    y2, x2 = min(top + 2 * half + 1, height), min(left + 2 * half + 1, width)
    if y1 >= y2 or x1 >= x2:
        return
    canvas_window = np.s_[y1:y2, x1:x2]
    sprite_window = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    alpha = sprite.alpha[sprite_window][..., None]
    below = canvas[canvas_window] * (1 - sprite.shadow[sprite_window])[..., None]
    canvas[canvas_window] = below + (sprite.colour[sprite_window] - below) * alpha
    instance_map[canvas_window][sprite.solid[sprite_window]] = track_id
