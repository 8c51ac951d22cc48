"""Which runner a row needs; each is imported only where it is used, as torch may be absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.benchmark.row import RowKind
from edgeseg.optional import require

if TYPE_CHECKING:
    from .contract import Runner
    from .spec import RunnerSpec


def open_runner(runner_spec: RunnerSpec) -> Runner:
    """Load a row.

    Raises:
        EdgeSegError: It cannot run here; the sentence says why.
    """
    if runner_spec.kind is RowKind.BUNDLE:
        from .bundle import BundleRunner

        return BundleRunner(runner_spec)
    if runner_spec.kind is RowKind.PYTORCH:
        for package in ("torch", "torchvision"):
            require(package, purpose="measure PyTorch")
        from .pytorch import PyTorchRunner

        return PyTorchRunner(runner_spec)
    from .converted import ConvertedModelRunner

    return ConvertedModelRunner(runner_spec)
