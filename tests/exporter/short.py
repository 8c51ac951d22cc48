"""Exports cut short by what the test that asks for one does not look at."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.exporter.graph import write_graph
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.spec import ModelSpec


@contextmanager
def without_half() -> Iterator[None]:
    """Let the graph in half precision be a copy of the other one: ten seconds less for each input size."""

    def write(model: Any, spec: ModelSpec, lowering: Lowering, path: Path) -> None:
        if lowering is Lowering.TENSORRT_FP16:
            shutil.copyfile(path.with_name(Lowering.TENSORRT.file_name), path)
        else:
            write_graph(model, spec, lowering, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeseg.exporter.export.write_graph", write)
        yield
