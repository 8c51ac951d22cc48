"""Graphs run as the runtime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from edgeseg.runtime.backends.onnxruntime import DISABLED_OPTIMIZERS


def session_of(model: Any, **options: Any) -> Any:
    """Open a graph; `options` are attributes of its settings."""
    settings = onnxruntime.SessionOptions()
    for name, value in options.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(
        model.SerializeToString(),
        settings,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMIZERS),
    )


def outputs_of(model: Any, image: np.ndarray, names: list[str] | None = None) -> list[np.ndarray]:
    """Run a graph on `uint8[H, W, 3]`; `names` are of the outputs, None for all."""
    feeds = {"images": image[None], "score_threshold": np.array(0.05, np.float32)}
    outputs: list[np.ndarray] = session_of(model).run(names, feeds)
    return outputs
