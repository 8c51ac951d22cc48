"""Training images: frames of many independent scenes, rendered once and varied at every use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from conveyor_model import tensor_from_frame
from numpy.typing import NDArray

from edgeseg.demo.conveyor import ConveyorScene, boxes_from_masks

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMES_PER_SCENE = 4
MIN_MASK_PX = 12
"""A training mask with fewer pixels is left out: its box may have no area after scaling."""

Target = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One rendered frame at the network's size.

    Attributes:
        image: `uint8[H, W, 3]` BGR.
        instance_map: `uint8[H, W]`, 0 on the belt, `i + 1` where part `i` is seen.
        labels: `int64[N]`.
    """

    image: NDArray[np.uint8]
    instance_map: NDArray[np.uint8]
    labels: NDArray[np.int64]


def render_scene(seed: int, size_hw: tuple[int, int]) -> list[Sample]:
    """Render frames of one scene, far enough apart to share no part, at `size_hw` pixels."""
    rng = np.random.default_rng([seed, 9])
    scene = ConveyorScene(seed=seed, spacing_px=float(rng.uniform(24, 60)))
    apart = int(np.ceil(1.3 * scene.size_hw[1] / scene.speed_px))
    return [_sample(scene, apart * k + int(rng.integers(20)), size_hw) for k in range(FRAMES_PER_SCENE)]


def render_pool(first_seed: int, scenes: int, size_hw: tuple[int, int], workers: int) -> list[Sample]:
    """Render `scenes` scenes from `first_seed` on, in `workers` processes."""
    with get_context("spawn").Pool(workers) as pool:
        seeds = range(first_seed, first_seed + scenes)
        done = pool.map(partial(render_scene, size_hw=size_hw), seeds, chunksize=8)
    return [sample for scene in done for sample in scene]


def batches(pool: list[Sample], batch: int, seed: int) -> Iterator[tuple[list[torch.Tensor], list[Target]]]:
    """Yield shuffled, flipped and re-lit batches for ever."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(pool))
        for start in range(0, len(order) - batch + 1, batch):
            pairs = [_augment(pool[int(i)], rng) for i in order[start : start + batch]]
            yield [image for image, _ in pairs], [target for _, target in pairs]


def _sample(scene: ConveyorScene, index: int, size_hw: tuple[int, int]) -> Sample:
    frame = scene.frame(index)
    instance_map = np.zeros(scene.size_hw, dtype=np.uint8)
    for number, mask in enumerate(frame.masks, start=1):
        instance_map[mask] = number
    size = size_hw[::-1]
    small = cv2.resize(frame.image, size, interpolation=cv2.INTER_LINEAR)
    return Sample(
        image=small.astype(np.uint8),
        instance_map=cv2.resize(instance_map, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8),
        labels=frame.labels,
    )


def _augment(sample: Sample, rng: np.random.Generator) -> tuple[torch.Tensor, Target]:
    image, instance_map = sample.image, sample.instance_map
    if rng.random() < 0.5:
        image, instance_map = image[:, ::-1], instance_map[:, ::-1]
    if rng.random() < 0.5:
        image, instance_map = image[::-1], instance_map[::-1]
    lut = np.clip(255 * (np.arange(256) / 255) ** rng.uniform(0.8, 1.25) * rng.uniform(0.75, 1.3), 0, 255)
    recoloured = lut.astype(np.float32)[image] * rng.uniform(0.94, 1.06, 3).astype(np.float32)
    numbers = np.arange(1, len(sample.labels) + 1, dtype=np.uint8)
    masks = instance_map[None] == numbers[:, None, None]
    seen = masks.sum(axis=(1, 2)) >= MIN_MASK_PX
    masks = np.ascontiguousarray(masks[seen])
    target = {
        "boxes": torch.from_numpy(boxes_from_masks(masks)),
        "labels": torch.from_numpy(sample.labels[seen]),
        "masks": torch.from_numpy(masks.view(np.uint8)),
    }
    return tensor_from_frame(np.clip(recoloured, 0, 255).round()), target
