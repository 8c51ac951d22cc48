"""Which package reaches CUDA here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.errors import DependencyError
from edgeseg.optional import require

from .driver import BINDINGS, PYCUDA
from .through_cuda_python import CudaPython
from .through_pycuda import PyCuda

if TYPE_CHECKING:
    from .driver import Cuda


def open_cuda() -> Cuda:
    """Open the first GPU, through cuda-python, or through pycuda where only that is installed.

    What the driver keeps for a process that uses it stays until the process ends: TensorRT uses it as well.

    Raises:
        DependencyError: Neither package is installed, or no GPU can be used; the message says what to do.
    """
    try:
        bindings = require(BINDINGS, purpose="use the GPU")
    except DependencyError as missing:
        try:
            pycuda = require(PYCUDA, purpose="use the GPU")
        except DependencyError:
            raise missing from None
        return PyCuda(pycuda)
    return CudaPython(bindings)
