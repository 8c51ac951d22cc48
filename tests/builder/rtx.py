"""Engines of TensorRT for RTX, which builds them without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeseg.builder.tensorrt import Plan, build_plan
from edgeseg.bundle.engines import EngineOptions
from edgeseg.runtime.backends.tensorrt.library import Flavour, is_installed, load_library

if TYPE_CHECKING:
    from pathlib import Path

needs_rtx = pytest.mark.skipif(
    not is_installed(Flavour.RTX), reason="needs TensorRT for RTX (extra rtx; Linux on x86-64 only)"
)


def build_rtx(graph: Path, *gpus: str) -> Plan:
    """Build for GPU generations, `SM86` unless others are named."""
    library = load_library(Flavour.RTX, purpose="test")
    return build_plan(library, graph, EngineOptions(compute_capabilities=gpus or ("SM86",)))
