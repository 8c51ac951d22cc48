"""Engines of TensorRT for RTX, which builds them without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.builder.tensorrt import BuiltPlan, build_tensorrt_plan
from edgeseg.bundle.engines import EngineOptions
from edgeseg.runtime.backends.tensorrt.library import TensorRTKind, is_installed, load_library

if TYPE_CHECKING:
    from pathlib import Path

needs_rtx = pytest.mark.skipif(
    not is_installed(TensorRTKind.RTX), reason="needs TensorRT for RTX (extra rtx; Linux on x86-64 only)"
)


def build_rtx(graph: Path, *gpus: str) -> BuiltPlan:
    """Build for GPU generations, `SM86` unless others are named."""
    library = load_library(TensorRTKind.RTX, purpose="test")
    return build_tensorrt_plan(library, graph, EngineOptions(compute_capabilities=gpus or ("SM86",)))
