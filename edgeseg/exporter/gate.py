"""Running the parity gate: images through PyTorch and through both graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import InputError, ParityError
from edgeseg.spec import Lowering, ParityReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseg.spec import ModelSpec
BUILT_IN_IMAGES = Path(__file__).parent / "images"
