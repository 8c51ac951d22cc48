"""Write an 8-bit graph by inserting QuantizeLinear and DequantizeLinear as a plan says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bundle.engines import FULL_WEIGHT_BITS
from edgeseg.errors import CalibrationError
from edgeseg.graphs.editor import GraphEditor
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import quantisation_plan

if TYPE_CHECKING:
    from edgeseg.calibration.table import CalibrationTable, Range
    from edgeseg.graphs.layers import Layer
    from edgeseg.quantisation.plan import QuantisationPlan

# A bias is quantised to int32 in steps of input scale times weight scale; smaller steps would overflow.
MAX_BIAS_STEPS = 2.0**30
SMALLEST_SCALE = 1e-8


def max_quantised(bits: int) -> int:
    """Largest magnitude of a signed value of so many bits, symmetric about zero: 127 for 8, 63 for 7."""
    return (1 << (bits - 1)) - 1


class Scheme(str, Enum):
    """How activations are quantised.

    ONNX Runtime's kernels for x86 are fast with unsigned activations, those for ARM with signed ones, and
    TensorRT takes only ranges symmetric about zero.
    """

    UINT8 = "uint8"
    INT8 = "int8"
    SYMMETRIC = "symmetric"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantParams:
    """Scale and zero point of an 8-bit value: `real = scale * (stored - zero_point)`."""

    scale: np.float32
    zero_point: NDArray[Any]


def quant_params_from_range(value_range: Range, scheme: Scheme) -> QuantParams:
    """Choose scale and zero point so that `value_range` just fit."""
    if scheme is Scheme.SYMMETRIC:
        scale = max(max(-value_range.low, value_range.high) / max_quantised(8), SMALLEST_SCALE)
        return QuantParams(scale=np.float32(scale), zero_point=np.array(0, np.int8))
    scale = max((value_range.high - value_range.low) / 255, SMALLEST_SCALE)
    steps_below_zero = round(-value_range.low / scale)
    if scheme is Scheme.UINT8:
        return QuantParams(scale=np.float32(scale), zero_point=np.array(steps_below_zero, np.uint8))
    return QuantParams(scale=np.float32(scale), zero_point=np.array(steps_below_zero - 128, np.int8))


def quantise_weight(
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    input_scale: np.float32,
    bits: int = FULL_WEIGHT_BITS,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise weights to int8, each output channel with its own scale.

    Args:
        weight: `float32[O, ...]`.
        bias: `float32[O]`, which bounds the step from below.
        input_scale: Scale of the layer's input.
        bits: Bits per weight.

    Returns:
        `int8[O, ...]` within -127 to 127, or with 7 bits -63 to 63, and the steps `float32[O]`.
    """
    scale = np.maximum(fitting_scales(weight, bits), SMALLEST_SCALE)
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / (MAX_BIAS_STEPS * input_scale))
    scale = scale.astype(np.float32)
    return quantise_with_scales(weight, scale, bits), scale


def fitting_scales(weight: NDArray[np.float32], bits: int = FULL_WEIGHT_BITS) -> NDArray[np.float32]:
    """Find the steps `float32[O]` with which each channel of `float32[O, ...]` just fits; zero for zeros."""
    widest: NDArray[np.float32] = np.abs(weight.reshape(len(weight), -1)).max(1)
    return widest / np.float32(max_quantised(bits))


def quantise_with_scales(
    weight: NDArray[np.float32], scale: NDArray[np.float32], bits: int = FULL_WEIGHT_BITS
) -> NDArray[np.int8]:
    """Quantise `weight` (`float32[O, ...]`) with one scale per channel (`float32[O]`): `int8[O, ...]`."""
    quantised = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    most = max_quantised(bits)
    return quantised.clip(-most, most).astype(np.int8)


def round_scale_up(scale: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Round steps up to what `dtype` holds at full precision: nothing is clipped or flushed to zero."""
    representable = np.maximum(scale, np.finfo(dtype).smallest_normal).astype(dtype)
    rounded_up: NDArray[Any] = np.where(
        representable < scale, np.nextafter(representable, dtype(np.inf)), representable
    )
    return rounded_up


class QdqWriter(GraphEditor):
    """Writes one 8-bit graph.

    Args:
        model: FP32 ONNX model of a bundle; not changed.
        table: Ranges of its values.
        scheme: How activations are quantised.
        weight_bits: Bits per weight.
    """

    def __init__(
        self, model: Any, table: CalibrationTable, scheme: Scheme, weight_bits: int = FULL_WEIGHT_BITS
    ) -> None:
        super().__init__(model)
        self.scheme = scheme
        self._weight_bits = weight_bits
        self.graph = LayerGraph(self.model)
        self.plan: QuantisationPlan = quantisation_plan(self.graph, table.float_layers)
        self.quant_params = {
            key: quant_params_from_range(value_range, scheme) for key, value_range in table.ranges.items()
        }
        if missing_keys := sorted(set(self.plan.values.values()) - set(self.quant_params)):
            msg = (
                f"the calibration table has no range for {missing_keys[0]} ({len(missing_keys)} missing); "
                "make it again with `edgeseg calibrate`"
            )
            raise CalibrationError(msg)
        self.values = dict(self.plan.values)

    def quant_params_of(self, value: str) -> QuantParams:
        """Look up scale and zero point of a value that the plan quantises."""
        return self.quant_params[self.values[value]]

    def scale_and_zero_point(self, value: str) -> list[str]:
        """Names of a value's scale and zero point."""
        key, params = self.values[value], self.quant_params_of(value)
        return [
            self.constant(f"{key}.scale", params.scale),
            self.constant(f"{key}.zero_point", params.zero_point),
        ]

    def quantise(self, value: str) -> str:
        """Append the quantisation of a value to 8 bits; gives the name of the result."""
        return self.add("QuantizeLinear", [value, *self.scale_and_zero_point(value)], f"{value}.q")

    def dequantise(self, value: str, suffix: str) -> str:
        """Append the dequantisation of a value; gives the name of the result."""
        return self.add(
            "DequantizeLinear", [f"{value}.q", *self.scale_and_zero_point(value)], f"{value}.{suffix}"
        )

    def weight(self, layer: Layer) -> tuple[str, NDArray[np.float32]]:
        """Quantise a layer's weights; gives the name to use in their place and their scales."""
        weight, input_scale = self.array(layer.node.input[1]), self.quant_params_of(layer.input_value).scale
        quantised, scale = self.quantised_weight(weight, self.bias(layer), input_scale)
        return self.store_weight(layer, quantised, scale), scale

    def quantised_weight(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32] | None, input_scale: np.float32
    ) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Quantise weights as `quantise_weight` does, to the bits of this graph."""
        return quantise_weight(weight, bias, input_scale, self._weight_bits)

    def store_weight(
        self, layer: Layer, quantised: NDArray[np.int8], scale: NDArray[np.float32], *, axis: int = 0
    ) -> str:
        """Store quantised weights and append their dequantisation; gives the name to use in their place."""
        # The levels of a pyramid share a layer's weights, and its steps unless a bias forces coarser ones.
        base = layer.block
        known = f"{base}.weight.scale"
        if known in self.constants and not np.array_equal(self.array(known), scale):
            base = layer.name
        inputs = [self.constant(f"{base}.weight.q", quantised), self.constant(f"{base}.weight.scale", scale)]
        inputs.append(self.constant(f"{base}.weight.zero_point", np.zeros(len(scale), np.int8)))
        return self.add("DequantizeLinear", inputs, f"{layer.name}.weight.dq", axis=axis)

    def bias(self, layer: Layer) -> NDArray[np.float32] | None:
        """Read a layer's bias."""
        names = layer.node.input[2:]
        return self.array(names[0]) if names and names[0] else None

    def finish(self) -> Any:
        """Give the copy with its new nodes; it no longer says what shape and type its values have."""
        del self.model.graph.value_info[:]
        return super().finish()
