"""Ranges as wide as a few images need, for tests of what is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgeseg.calibration.table import CalibrationTable, Method, Range
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantization.plan import taps_of


def minmax_table(model: Any, images: np.ndarray) -> CalibrationTable:
    """Run the portable graph on `uint8[N, H, W, 3]`, one by one, and keep the extremes of every tap."""
    taps = taps_of(LayerGraph(model)).taps
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(onnx.helper.make_empty_tensor_value_info(tap.tensor) for tap in taps)
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    low, high = dict.fromkeys(taps, 0.0), dict.fromkeys(taps, 1e-6)
    for image in images:
        feeds = {"images": image[None], "score_threshold": np.array(0.05, np.float32)}
        for tap, values in zip(taps, session.run([tap.tensor for tap in taps], feeds), strict=True):
            low[tap] = min(low[tap], float(values.min(initial=0)))
            high[tap] = max(high[tap], float(values.max(initial=0)))
    return CalibrationTable(
        method=Method.MINMAX,
        images=len(images),
        images_sha256="0" * 64,
        graph_sha256="0" * 64,
        seed=0,
        ranges={tap.key: Range(low=low[tap], high=high[tap]) for tap in taps},
    )
