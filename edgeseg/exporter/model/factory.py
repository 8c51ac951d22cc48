"""Models built by a user's function, for what tensor shapes do not show."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from torchvision.models.detection import MaskRCNN

from edgeseg.errors import ConfigError, EdgeSegError


def model_from_factory(name: str) -> Any:
    """Call `package.module:function`, found from the working folder too, and take its Mask R-CNN.

    Raises:
        ConfigError: The name has another form, is not found, the function fails or returns something else.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        msg = f"--factory must be package.module:function, got {name!r}"
        raise ConfigError(msg)
    try:
        model = getattr(_module(module_name), function_name)()
    except EdgeSegError:
        raise
    except Exception as exc:
        msg = f"--factory {name} failed: {type(exc).__name__}: {exc}"
        raise ConfigError(msg) from exc
    if not isinstance(model, MaskRCNN):
        msg = f"--factory {name} must return a torchvision MaskRCNN, it returned {type(model).__name__}"
        raise ConfigError(msg)
    return model


def _module(name: str) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)
