"""torchvision's own model, called as its documentation does, plainly or with what PyTorch has for speed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torchvision

from edgeseg.bundle.manifest import open_bundle
from edgeseg.exporter.model.eager import EagerBackend, torchvision_from_checkpoint
from edgeseg.exporter.model.reference import tensors_from_frames
from edgeseg.runtime.input_sizes import resize_limits
from edgeseg.runtime.model import Model, SizedBackend
from edgeseg.vision.torchvision_output import detections_from_dense

from .contract import CallResult

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edgeseg.spec import ModelSpec
    from edgeseg.vision.detections import Detections

    from .contract import Frames
    from .spec import RunnerSpec


class PyTorchRunner:
    """A checkpoint in torchvision, on the GPU where PyTorch has one, else on the CPU.

    Counts and thresholds are those of the bundle, and it resizes to the bundle's input size.

    Args:
        runner_spec: Names the checkpoint and how to run it.

    Raises:
        InputError: The checkpoint cannot be read, or is not the bundle's.
        ConfigError: The bundle was exported with a factory, and none is given.
    """

    def __init__(self, runner_spec: RunnerSpec) -> None:
        torch.set_num_threads(runner_spec.threads)
        bundle = open_bundle(Path(runner_spec.model))
        spec = bundle.spec
        self._resize_range = resize_limits([each.spec.input_size_hw for each in bundle.sizes])
        self.files = (Path(str(runner_spec.checkpoint)),)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._runner_spec, self._class_names = runner_spec, spec.class_names
        self._preprocess = spec.preprocess
        self._model = self._prepared_model(spec)
        specs = [each.spec for each in bundle.sizes]
        first, *others = (SizedBackend(each, EagerBackend(self._model, each)) for each in specs)
        self._eager = Model(*first, other_sizes=others)
        self._lowest_threshold = spec.score_threshold
        self._times_s = {"begun": 0.0, "ended": 0.0}
        self._model.transform.register_forward_hook(lambda *_: self._mark_time("begun"))
        self._model.roi_heads.register_forward_hook(self._after_heads)

    @property
    def description(self) -> str:
        """Versions and how it is run."""
        options = ["channels_last"] if self._runner_spec.channels_last else []
        options += ["bfloat16 autocast"] if self._runner_spec.precision == "bf16" else []
        options += ["torch.compile"] if self._runner_spec.compiled else []
        versions = f"torchvision {torchvision.__version__}, torch {torch.__version__}"
        resizing = (
            ", its own resizing ({} to {})".format(*self._resize_range)
            if self._runner_spec.own_resizing
            else ""
        )
        return f"{versions} on {self._device.type.upper()}, {' + '.join(options) or 'eager FP32'}{resizing}"

    def __call__(self, frames: Frames, score_threshold: float) -> CallResult:
        """Detect as torchvision's documentation has it; masks are probabilities pasted into the frames."""
        self._model.roi_heads.score_thresh = score_threshold
        tensors = [tensors_from_frames(frame[None], self._preprocess)[0].to(self._device) for frame in frames]
        with torch.inference_mode(), self._autocast():
            output = [{name: value.cpu() for name, value in one.items()} for one in self._model(tensors)]
        scores = [float(score) for one in output for score in one["scores"]]
        return CallResult(output, scores, self._times_s["begun"], self._times_s["ended"])

    def detect(self, frames: Frames, score_threshold: float) -> list[Detections]:
        """Give it the pixels that the engines of the bundle are given, so that only the network differs.

        Unless the row is there to show what fitting frames into fixed input sizes costs.
        """
        if self._runner_spec.own_resizing or self._device.type != "cpu":
            return [self._detect_one(frame, score_threshold) for frame in frames]
        self._model.roi_heads.score_thresh = self._lowest_threshold
        with self._autocast():
            return [self._eager(frame, score_threshold) for frame in frames]

    def close(self) -> None:
        """See `Runner.close`."""
        self._model = None

    def _detect_one(self, frame: Any, score_threshold: float) -> Detections:
        one = self([frame], score_threshold).output[0]
        boxes, labels, scores, masks = (one[name].numpy() for name in ("boxes", "labels", "scores", "masks"))
        return detections_from_dense(boxes, labels, scores, masks, self._class_names)

    def _prepared_model(self, spec: ModelSpec) -> Any:
        model = torchvision_from_checkpoint(self.files[0], spec, factory=self._runner_spec.factory)
        model.transform.min_size, model.transform.max_size = self._resize_range[:1], self._resize_range[1]
        model = model.eval().to(self._device)
        if self._runner_spec.channels_last:
            model = model.to(memory_format=torch.channels_last)
        if self._runner_spec.compiled:
            _compile(model)
        return model

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._runner_spec.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _mark_time(self, stage: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self._times_s[stage] = time.perf_counter()

    def _after_heads(self, module: Any, inputs: Any, outputs: tuple[Any, Any]) -> tuple[Any, Any]:
        self._mark_time("ended")
        # Pasting masks and NumPy take no bfloat16.
        found = [
            {name: value.float() if value.is_floating_point() else value for name, value in one.items()}
            for one in outputs[0]
        ]
        return found, outputs[1]


def _compile(model: Any) -> None:
    """Compile what is a network; what lies between has shapes that depend on data, and breaks into pieces."""
    heads = model.roi_heads
    for part in (model.backbone, model.rpn.head, heads.box_head, heads.box_predictor):
        part.compile()
    # As many masks as detections, so another number in every image.
    for part in (heads.mask_head, heads.mask_predictor):
        part.compile(dynamic=True)
