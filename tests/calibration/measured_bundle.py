"""The fake bundle with inner values whose numbers are known from the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.bundle.manifest import Bundle, open_bundle, write_manifest
from edgeseg.calibration.observers import FirstAxis, RangeObserver, RangeObservers
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")

PROPOSALS = 6
PRESENT = 4
PADDING = 1e6
# The root of how much brighter a picture is than this: NaN for a darker one.
DARK = 20.0
# BGR: red counts most, so that swapped channels show.
WEIGHTS = np.array([[0.1, 0.2, 1.0], [-1.0, 0.0, 0.5]], np.float32)

PIXELS = RangeObserver(key="pixels", tensor="pixels", rows=FirstAxis.IMAGES)
FEATURES = RangeObserver(key="features", tensor="features", rows=FirstAxis.IMAGES)
PROPOSAL = RangeObserver(key="proposal", tensor="proposal_values", rows=FirstAxis.PROPOSALS)
DETECTED = RangeObserver(key="detected", tensor="detected", rows=FirstAxis.DETECTIONS)
ROOT = RangeObserver(key="head.root", tensor="root", rows=FirstAxis.IMAGES)
DEAD = RangeObserver(key="dead", tensor="dead", rows=FirstAxis.IMAGES)
TAPS = RangeObservers(observers=(DETECTED, PIXELS, FEATURES, PROPOSAL, DEAD), present="present")


def measured_bundle(folder: Path, **changes: Any) -> Bundle:
    """Make the bundle; `changes` go into its spec."""
    make_bundle(folder, max_proposals=PROPOSALS, **changes)
    bundle = open_bundle(folder)
    path = folder / "portable.onnx"
    model = onnx.load(path)
    batch = bundle.spec.batch
    present = np.tile(np.arange(PROPOSALS) < PRESENT, (batch, 1))
    ramp = np.where(present[0], np.arange(PROPOSALS) + 1.0, PADDING)[None]
    constants = {
        "present_rows": present,
        "ramp": ramp.astype(np.float32),
        "weights": WEIGHTS[:, :, None, None],
        "dark": np.array(DARK, np.float32),
        "none": np.zeros(1, np.float32),
        "column": np.array([-1, 1], np.int64),
        "fours": np.array([-1, 4], np.int64),
        "flat": np.array([-1], np.int64),
        "mean_column": np.array([batch, 1], np.int64),
    }
    steps: list[tuple[str, str, str, dict[str, Any]]] = [
        ("Transpose", "pixels", "planes", {"perm": [0, 3, 1, 2]}),
        ("Conv", "planes weights", "features", {}),
        ("Identity", "present_rows", "present", {}),
        ("Reshape", "mean mean_column", "mean_column_values", {}),
        ("Mul", "mean_column_values ramp", "proposal_table", {}),
        ("Reshape", "proposal_table column", "proposal_values", {}),
        ("Reshape", "placed fours", "placed_rows", {}),
        ("Reshape", "kept flat", "kept_rows", {}),
        ("Compress", "placed_rows kept_rows", "detected", {"axis": 0}),
        ("Sub", "mean dark", "above_dark", {}),
        ("Sqrt", "above_dark", "root", {}),
        ("Mul", "mean none", "dead", {}),
    ]
    for kind, inputs, output, more in steps:
        model.graph.node.append(onnx.helper.make_node(kind, inputs.split(), [output], **more))
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
    onnx.save(model, path)
    write_manifest(folder, bundle.spec, [path.name])
    return open_bundle(folder)
