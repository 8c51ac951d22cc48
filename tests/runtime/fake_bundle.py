"""A bundle with a graph of a few operators that keeps the portable graph's contract.

Scores, labels and masks are constants. The threshold cuts them as in a real graph, and box 0 moves with the
brightness of its image, so that results of the wrong image show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.bundle.manifest import MANIFEST, size_folder, write_manifest
from edgeseg.spec import Lowering, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

onnx = pytest.importorskip("onnx")

SIZE_HW = (64, 96)
NAMES = ("__background__", "bolt", "nut", "washer")
BOXES = np.array(
    [(4, 6, 20, 30), (40, 10, 90, 60), (0, 0, 96, 64), (50, 50, 60, 60), (5, 5, 9, 9)], np.float32
)
SCORES = np.array([0.9, 0.7, 0.6, 0.3, 0.1], np.float32)
LABELS = np.array([1, 2, 3, 1, 2], np.int32)
SIDE = 28
# Box 0 goes right by as many pixels in a white image as here, in a black one by none.
SHIFT_PX = 50.0


def make_spec(**changes: Any) -> ModelSpec:
    facts: dict[str, Any] = {
        "class_names": NAMES,
        "input_size_hw": SIZE_HW,
        "batch": 1,
        "max_detections": len(SCORES),
        "mask_size": SIDE,
        "architecture": "fake",
        "checkpoint": "fake.pth",
        "checkpoint_sha256": "0" * 64,
        "versions": {},
    }
    return ModelSpec(**{**facts, **changes})


def disc(side: int = SIDE) -> np.ndarray:
    """Probability of 1 at the middle of a mask, falling to 0 at the middle of its borders."""
    away = (np.arange(side) + 0.5) / side * 2 - 1
    return (1 - np.hypot(away, away[:, None])).clip(0, 1).astype(np.float32)


def write_graph(
    path: Path, spec: ModelSpec, *, label_type: Any = np.int32, fails_above: float | None = None
) -> Path:
    """Write the graph for a spec; `fails_above` makes it break off at larger thresholds."""
    batch, rows, side = spec.batch, spec.max_detections, spec.mask_size
    tensor, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    label_onnx = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(label_type))
    picks = np.arange(rows) % len(SCORES)
    move = np.zeros((1, rows, 4), np.float32)
    move[0, 0, ::2] = SHIFT_PX / 255
    # Boxes lie within every input.
    within = np.minimum(BOXES, np.array(2 * spec.input_size_hw[::-1], np.float32))
    limit = 2.0 if fails_above is None else fails_above
    constants = {
        "all_boxes": within[picks][None],
        "all_scores": np.sort(SCORES[picks])[None, ::-1].repeat(batch, 0),
        "all_labels": LABELS[picks][None].astype(label_type),
        "all_masks": np.broadcast_to(disc(side), (1, rows, side, side)),
        "move": move,
        "limit": np.array(limit, np.float32),
        "zero": np.zeros(1, np.float32),
        "pixel_axes": np.array([1, 2, 3], np.int64),
        "row_axis": np.array([1], np.int64),
        "last_axes": np.array([2], np.int64),
        "mask_axes": np.array([2, 3], np.int64),
        "one_by_one": np.array([-1, 1, 1], np.int64),
    }
    steps = [
        # Index 1 of a list of one is what fails.
        ("Greater", "score_threshold limit", "over", {}),
        ("Cast", "over", "over_index", {"to": types.INT64}),
        ("Gather", "zero over_index", "nothing", {}),
        ("Add", "score_threshold nothing", "threshold", {}),
        ("Greater", "all_scores threshold", "kept", {}),
        ("Cast", "kept", "kept_float", {"to": types.FLOAT}),
        ("Cast", "kept", "kept_int", {"to": types.INT32}),
        ("Cast", "kept", "kept_label", {"to": label_onnx}),
        ("ReduceSum", "kept_int row_axis", "num_detections", {"keepdims": 0}),
        ("Mul", "all_scores kept_float", "scores", {}),
        ("Mul", "all_labels kept_label", "labels", {}),
        ("Cast", "images", "pixels", {"to": types.FLOAT}),
        ("ReduceMean", "pixels pixel_axes", "mean", {"keepdims": 0}),
        ("Reshape", "mean one_by_one", "mean_rows", {}),
        ("Mul", "mean_rows move", "moved", {}),
        ("Add", "all_boxes moved", "placed", {}),
        ("Unsqueeze", "kept_float last_axes", "kept_boxes", {}),
        ("Mul", "placed kept_boxes", "boxes", {}),
        ("Unsqueeze", "kept_float mask_axes", "kept_masks", {}),
        ("Mul", "all_masks kept_masks", "masks", {}),
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, ins.split(), [out], **more) for kind, ins, out, more in steps],
        "fake",
        [
            tensor("images", types.UINT8, [batch, *spec.input_size_hw, 3]),
            tensor("score_threshold", types.FLOAT, []),
        ],
        [
            tensor("num_detections", types.INT32, [batch]),
            tensor("boxes", types.FLOAT, [batch, rows, 4]),
            tensor("scores", types.FLOAT, [batch, rows]),
            tensor("labels", label_onnx, [batch, rows]),
            tensor("masks", types.FLOAT, [batch, rows, side, side]),
        ],
        [
            onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in constants.items()
        ],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def constant_rows(rows: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores, labels and masks of every image, before any threshold."""
    picks = np.arange(rows) % len(SCORES)
    masks = np.broadcast_to(disc(side), (rows, side, side))
    return BOXES[picks], np.sort(SCORES[picks])[::-1], LABELS[picks], masks


def write_tensorrt_graph(path: Path, spec: ModelSpec, *, settled: bool = True) -> Path:
    """Write the form for TensorRT: the threshold of the spec is built in, and another output tells of NMS."""
    batch, rows, side = spec.batch, spec.max_detections, spec.mask_size
    tensor, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    boxes, scores, labels, masks = constant_rows(rows, side)
    kept = (scores > np.float32(spec.score_threshold)).astype(np.float32)
    move = np.zeros((1, rows, 4), np.float32)
    move[0, 0, ::2] = SHIFT_PX / 255 * kept[0]
    constants = {
        "count": np.array([kept.sum()], np.float32),
        "settled": np.array([settled], np.float32),
        "kept_boxes": (boxes * kept[:, None])[None],
        "kept_scores": (scores * kept)[None],
        "kept_labels": (labels * kept)[None],
        "kept_masks": (masks * kept[:, None, None])[None],
        "move": move,
        "zero": np.zeros((1,), np.float32),
        "pixel_axes": np.array([1, 2, 3], np.int64),
        "column": np.array([batch, 1], np.int64),
        "one_by_one": np.array([batch, 1, 1], np.int64),
        "one_by_one_by_one": np.array([batch, 1, 1, 1], np.int64),
    }
    kinds = dict.fromkeys(("pixel_axes", "column", "one_by_one", "one_by_one_by_one"), np.int64)
    steps = [
        ("Cast", "images", "pixels", {"to": types.FLOAT}),
        ("ReduceMean", "pixels pixel_axes", "mean", {"keepdims": 0}),
        # Outputs that do not depend on the input would be no work for the GPU.
        ("Mul", "mean zero", "nothing", {}),
        ("Add", "count nothing", "counts", {}),
        ("Cast", "counts", "num_detections", {"to": types.INT32}),
        ("Add", "settled nothing", "all_settled", {}),
        ("Cast", "all_settled", "nms_converged", {"to": types.INT32}),
        ("Reshape", "nothing column", "nothing_rows", {}),
        ("Add", "kept_scores nothing_rows", "scores", {}),
        ("Add", "kept_labels nothing_rows", "all_labels", {}),
        ("Cast", "all_labels", "labels", {"to": types.INT32}),
        ("Reshape", "nothing one_by_one_by_one", "nothing_masks", {}),
        ("Add", "kept_masks nothing_masks", "masks", {}),
        ("Reshape", "mean one_by_one", "mean_rows", {}),
        ("Mul", "mean_rows move", "moved", {}),
        ("Add", "kept_boxes moved", "boxes", {}),
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, ins.split(), [out], **more) for kind, ins, out, more in steps],
        "fake",
        [tensor("images", types.UINT8, [batch, *spec.input_size_hw, 3])],
        [
            tensor("num_detections", types.INT32, [batch]),
            tensor("boxes", types.FLOAT, [batch, rows, 4]),
            tensor("scores", types.FLOAT, [batch, rows]),
            tensor("labels", types.INT32, [batch, rows]),
            tensor("masks", types.FLOAT, [batch, rows, side, side]),
            tensor("nms_converged", types.INT32, [batch]),
        ],
        [
            onnx.numpy_helper.from_array(np.ascontiguousarray(value, kinds.get(name, np.float32)), name)
            for name, value in constants.items()
        ],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def make_bundle(folder: Path, *, other_sizes: Sequence[tuple[int, int]] = (), **changes: Any) -> Path:
    """Make a bundle of the portable graph, and of further input sizes; `changes` go into its spec."""
    folder.mkdir(parents=True)
    spec = make_spec(**changes)
    below = [size_folder(size_hw) for size_hw in other_sizes]
    for name, size_hw in zip(below, other_sizes, strict=True):
        make_bundle(folder / name, **{**changes, "input_size_hw": size_hw})
    write_graph(folder / Lowering.PORTABLE.file_name, spec)
    write_manifest(folder, spec, [Lowering.PORTABLE.file_name, *(f"{name}/{MANIFEST}" for name in below)])
    return folder
