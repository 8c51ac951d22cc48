"""Writing what users have today: torchvision's whole model by ONNX's exporter or OpenVINO's converter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from edgeseg.bundle.engines import Target
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ExportError
from edgeseg.exporter.config import DetectionLimits, apply_limits
from edgeseg.exporter.model.eager import torchvision_from_checkpoint
from edgeseg.exporter.model.reference import tensors_from_frames
from edgeseg.optional import require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .spec import RunnerSpec

OPSET = 18
OUTPUTS = ("boxes", "labels", "scores", "masks")


class WholeModel(torch.nn.Module):
    """A torchvision model from image tensors to pasted masks, its score threshold an input as elsewhere."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, score_threshold: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Detect in `float32[B, 3, H, W]`; boxes, labels, scores and masks of each image."""
        self.model.roi_heads.score_thresh = score_threshold
        found = self.model(list(images.unbind(0)))
        return tuple(one[name] for one in found for name in OUTPUTS)


def write_whole_model(runner_spec: RunnerSpec, frames: NDArray[np.uint8]) -> None:
    """Export or convert the checkpoint's model to `runner_spec.path`.

    Args:
        runner_spec: `onnxruntime` for ONNX, `openvino` for OpenVINO's format.
        frames: `uint8[B, H, W, 3]` BGR, to trace with; photographs, since nothing found is nothing traced.

    Raises:
        ExportError: It failed; the message has the first line of why.
        InputError: The checkpoint cannot be read, or is not the bundle's.
    """
    torch.set_num_threads(runner_spec.threads)
    spec = open_bundle(Path(runner_spec.model)).spec
    model = torchvision_from_checkpoint(
        Path(str(runner_spec.checkpoint)), spec, factory=runner_spec.factory
    ).eval()
    apply_limits(DetectionLimits(**{name: getattr(spec, name) for name in DetectionLimits.__slots__}), model)
    sides = spec.input_size_hw
    model.transform.min_size, model.transform.max_size = (min(sides),), max(sides)
    images = tensors_from_frames(frames, spec.preprocess)
    example = (images.contiguous(), torch.tensor(spec.score_threshold))
    onnx = runner_spec.engine == Target.ONNXRUNTIME.value
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # Dozens, on constants that tracing freezes; whether they matter shows in what the row finds.
            warnings.simplefilter("ignore")
            (_write_onnx if onnx else _write_openvino)(WholeModel(model), example, runner_spec.path)
    # Exporter and converter raise whatever comes.
    except Exception as exc:
        lines = str(exc).strip().splitlines() or [""]
        what = "torch.onnx.export(dynamo=False)" if onnx else "openvino.convert_model"
        msg = f"{what} of the whole model failed: {type(exc).__name__}: {lines[0][:300]}"
        raise ExportError(msg) from exc


def _write_onnx(model: WholeModel, example: tuple[torch.Tensor, torch.Tensor], path: str) -> None:
    torch.onnx.export(
        model,
        example,
        path,
        dynamo=False,
        opset_version=OPSET,
        input_names=["images", "score_threshold"],
        dynamic_axes={"images": {2: "height", 3: "width"}},
    )


def _write_openvino(model: WholeModel, example: tuple[torch.Tensor, torch.Tensor], path: str) -> None:
    openvino = require("openvino", purpose="convert torchvision's model")
    converted = openvino.convert_model(model, example_input=example)
    openvino.save_model(converted, path, compress_to_fp16=False)
