"""Which runner a row needs; each is imported only where it is used, as torch may be absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.benchmark.row import Kind
from edgeseg.optional import require

if TYPE_CHECKING:
    from .contract import Contender
    from .spec import Recipe


def open_contender(recipe: Recipe) -> Contender:
    """Load a row.

    Raises:
        EdgeSegError: It cannot run here; the sentence says why.
    """
    if recipe.kind is Kind.BUNDLE:
        from .bundle import BundledContender

        return BundledContender(recipe)
    if recipe.kind is Kind.PYTORCH:
        for package in ("torch", "torchvision"):
            require(package, purpose="measure PyTorch")
        from .pytorch import PyTorchContender

        return PyTorchContender(recipe)
    from .converted import ExportedContender

    return ExportedContender(recipe)
