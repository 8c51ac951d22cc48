"""Ranges as wide as a few images need, for tests of what is done with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgeseg.calibration.table import CalibrationTable, Method, Range
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import range_observers


def minmax_table(model: Any, images: np.ndarray) -> CalibrationTable:
    """Run the portable graph on `uint8[N, H, W, 3]`, one by one, and keep the extremes of every tap."""
    observers = range_observers(LayerGraph(model)).observers
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(observer.tensor) for observer in observers
    )
    session = onnxruntime.InferenceSession(tapped.SerializeToString(), providers=["CPUExecutionProvider"])
    low, high = dict.fromkeys(observers, 0.0), dict.fromkeys(observers, 1e-6)
    for image in images:
        feeds = {"images": image[None], "score_threshold": np.array(0.05, np.float32)}
        for observer, values in zip(
            observers, session.run([observer.tensor for observer in observers], feeds), strict=True
        ):
            low[observer] = min(low[observer], float(values.min(initial=0)))
            high[observer] = max(high[observer], float(values.max(initial=0)))
    return CalibrationTable(
        method=Method.MINMAX,
        images=len(images),
        images_sha256="0" * 64,
        graph_sha256="0" * 64,
        seed=0,
        ranges={observer.key: Range(low=low[observer], high=high[observer]) for observer in observers},
    )
