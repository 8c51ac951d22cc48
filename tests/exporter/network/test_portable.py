"""Operators of the portable graph, alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
import torch

from edgeseg.exporter.graph import OPSET
from edgeseg.exporter.network.portable import TRANSLATIONS, PortableOperators

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PAIRS = 4096


class PairsOfBoxes(torch.nn.Module):
    """NMS over pairs of one box whose logits are neighbouring floats."""

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        boxes = torch.tensor([0.0, 0.0, 8.0, 8.0]).expand(PAIRS, 2, 4)
        return PortableOperators(1).nms(boxes, logits.sigmoid(), None, 0.5).float()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # Inside PyTorch's exporter.
def test_the_first_of_two_nearly_equal_boxes_stays(tmp_path: Path) -> None:
    upper = np.linspace(4, 9, PAIRS, dtype=np.float32)
    logits = np.stack([upper, np.nextafter(upper, np.float32(0))], 1)
    path = tmp_path / "nms.onnx"
    translations: Mapping[Any, Any] = TRANSLATIONS
    torch.onnx.export(
        PairsOfBoxes().eval(),
        (torch.from_numpy(logits),),
        path,
        dynamo=True,
        opset_version=OPSET,
        verbose=False,
        custom_translation_table={**translations},
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (keep,) = session.run(None, {session.get_inputs()[0].name: logits})
    assert (keep == [1, 0]).all()
