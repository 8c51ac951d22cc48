"""Masks of 100 detections into a 1920x1080 frame: edgeseg beside torchvision's paste, interleaved in one run.

    python scripts/measurements/masks.py

Boxes have the sizes of objects in COCO at that resolution: side lengths log-normal around 110 pixels.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import click
import cv2
import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from edgeseg.vision.masks import crop_masks, dense_masks

SIZE_HW = (1080, 1920)
COUNT = 100
MEDIAN_SIDE_PX = 110.0


def detections(seed: int) -> tuple[Any, Any]:
    """Make blobs as masks, `float32[100, 28, 28]`, and boxes `float32[100, 4]` inside the frame."""
    rng = np.random.default_rng(seed)
    frame = np.array(SIZE_HW[::-1], np.float32)
    side = np.exp(rng.normal(np.log(MEDIAN_SIDE_PX), 0.8, (COUNT, 2))).clip(4, frame - 1)
    corner = rng.uniform(0, 1, (COUNT, 2)) * (frame - side)
    noise = [cv2.GaussianBlur(rng.random((28, 28)), (0, 0), 3) for _ in range(COUNT)]
    masks = np.stack([((blob - blob.mean()) / blob.std() + 0.6).clip(0.02, 0.98) for blob in noise])
    return masks.astype(np.float32), np.concatenate((corner, corner + side), 1).astype(np.float32)


@click.command()
@click.option("--repeats", default=7, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(repeats: int, threads: int) -> None:
    """Print medians in milliseconds and the agreement, as JSON."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    times: dict[str, list[float]] = {"torchvision": [], "crops": [], "crops_and_dense": []}
    ious: list[float] = []
    for seed in range(repeats):
        masks, boxes = detections(seed)
        tensors = torch.from_numpy(masks)[:, None], torch.from_numpy(boxes)
        start = time.perf_counter()
        reference = paste_masks_in_image(*tensors, SIZE_HW)[:, 0].numpy() >= 0.5
        middle = time.perf_counter()
        crops = crop_masks(masks, boxes, SIZE_HW)
        cropped = time.perf_counter()
        dense = dense_masks(crops, SIZE_HW)
        end = time.perf_counter()
        times["torchvision"].append(middle - start)
        times["crops"].append(cropped - middle)
        times["crops_and_dense"].append(end - middle)
        union = (dense | reference).sum((1, 2))
        ious += ((dense & reference).sum((1, 2))[union > 0] / union[union > 0]).tolist()
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratios = {name: medians["torchvision"] / value for name, value in medians.items()}
    click.echo(json.dumps({"median_ms": medians, "times_faster": ratios, "min_iou": min(ious)}, indent=2))


if __name__ == "__main__":
    main()
