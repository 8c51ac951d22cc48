"""The portable graph instrumented to output the observed values, in as many passes as memory needs."""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.errors import CalibrationError, first_line
from edgeseg.graphs.editor import GraphIndex, keep_only_outputs, shape_from_description
from edgeseg.optional import require
from edgeseg.ports import IMAGES, SCORE_THRESHOLD
from edgeseg.runtime.backends.onnxruntime import CPU
from edgeseg.runtime.host.processors import inference_threads
from edgeseg.spec import Lowering

from .observers import FirstAxis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.spec import ModelSpec

    from .observers import RangeObserver, RangeObservers

# Bytes that one pass may output. ONNX Runtime's arena takes up to 0.7 GB beyond what is in use. The 2 GB of
# R50 at 800x1344 peak at 4.0 GB in one pass and at 2.3 GB in two; the first runs only a third of the graph.
MAX_PASS_BYTES = 1_100_000_000
_PURPOSE = "measure the values of a graph"


def plan_passes(bundle: Bundle, observers: RangeObservers) -> list[tuple[RangeObserver, ...]]:
    """Split observers into as few passes as memory allows, in the order in which the graph computes them.

    Raises:
        CalibrationError: The graph lacks one of the values, or it is of another type.
    """
    model = _load(bundle)
    types = _types(model, [observers.present, *(observer.tensor for observer in observers.observers)])
    _check_types(types, observers)
    order = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    passes: list[list[RangeObserver]] = [[]]
    used = 0
    for observer in sorted(observers.observers, key=lambda observer: order.get(observer.tensor, -1)):
        size = _estimated_bytes(types[observer.tensor], observer, bundle.spec)
        if passes[-1] and used + size > MAX_PASS_BYTES:
            passes.append([])
            used = 0
        passes[-1].append(observer)
        used += size
    return [tuple(taken) for taken in passes]


class InstrumentedGraph:
    """The portable graph on ONNX Runtime's CPU provider, cut down to what the requested values need.

    Args:
        bundle: Bundle whose graph is read again, so that no copy outlives this.
        tensors: Names of the values to output; they may include outputs of the graph.

    Raises:
        CalibrationError: ONNX Runtime refuses the graph.
    """

    def __init__(self, bundle: Bundle, tensors: Iterable[str]) -> None:
        ort = require("onnxruntime", purpose=_PURPOSE)
        self._threshold = np.array(bundle.spec.score_threshold, np.float32)
        self._names = list(dict.fromkeys(tensors))
        model = _instrumented(bundle, self._names)
        options = ort.SessionOptions()
        # Its log on stderr would only repeat the exception.
        options.log_severity_level = 4
        # Planned memory lies beside what is handed out, not in its place: 2.9 GB instead of 2.4 GB for R50.
        options.enable_mem_pattern = False
        options.intra_op_num_threads = inference_threads(None) or 0
        with _mapped_errors(f"ONNX Runtime {ort.__version__} does not take the graph to measure"):
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])

    def __call__(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run the graph on `uint8[B, H, W, 3]` and return the values by name.

        Raises:
            CalibrationError: The graph failed to compute.
        """
        feeds = {IMAGES: images, SCORE_THRESHOLD: self._threshold}
        with _mapped_errors("the graph failed to compute"):
            return dict(zip(self._names, self._session.run(self._names, feeds), strict=True))


@contextmanager
def _mapped_errors(what: str) -> Iterator[None]:
    """Turn ONNX Runtime's errors, which have no base but `Exception`, into sentences."""
    try:
        yield
    except Exception as exc:
        msg = f"{what}; {first_line(exc)}"
        raise CalibrationError(msg) from exc


def _instrumented(bundle: Bundle, names: Sequence[str]) -> Any:
    """Read the graph, make values its outputs and drop what they do not need."""
    model = _load(bundle)
    keep_only_outputs(model, _types(model, names).values())
    return model


def _load(bundle: Bundle) -> Any:
    onnx = require("onnx", purpose=_PURPOSE)
    return onnx.load(bundle.graph_path(Lowering.PORTABLE))


def _types(model: Any, names: Sequence[str]) -> dict[str, Any]:
    """Look up what the graph says of values; where it says nothing, infer it."""
    index = GraphIndex(model)
    types = {name: index.description(name) for name in names}
    if missing := sorted(name for name, found in types.items() if found is None):
        msg = f"the graph must hold a value named {missing[0]!r} to be measured, and has none"
        raise CalibrationError(msg)
    return types


def _check_types(types: dict[str, Any], observers: RangeObservers) -> None:
    onnx = require("onnx", purpose=_PURPOSE)
    needed = {observer.tensor: onnx.TensorProto.FLOAT for observer in observers.observers}
    needed[observers.present] = onnx.TensorProto.BOOL
    for name, kind in needed.items():
        if (found := types[name].type.tensor_type.elem_type) != kind:
            names = onnx.TensorProto.DataType.Name
            msg = f"the value {name!r} must be {names(kind)} to be measured, and is {names(found)}"
            raise CalibrationError(msg)


def _estimated_bytes(value: Any, observer: RangeObserver, spec: ModelSpec) -> int:
    """Estimate the bytes of a value, with the largest possible size for axes that the graph leaves open."""
    first = {
        FirstAxis.IMAGES: spec.batch,
        FirstAxis.PROPOSALS: spec.batch * spec.max_proposals,
        FirstAxis.DETECTIONS: spec.batch * spec.max_detections,
    }[observer.rows]
    # The finest feature map is a quarter of the input.
    rest = max(spec.input_size_hw) // 4
    sizes = shape_from_description(value)
    return 4 * prod(size or (rest if axis else first) for axis, size in enumerate(sizes))
