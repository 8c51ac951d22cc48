"""Measure the accuracy that each block loses in INT8, and revert the worst until a budget holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.calibration.table import CalibrationTable
from edgeseg.graphs.layers import LayerGraph

from .candidate import QuantisedModels
from .evaluator import Evaluator, Score
from .plan import quantisable_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """The accuracy lost against FP32 when one block alone is quantised.

    Attributes:
        block: Such as `backbone.body.layer1.0`.
        layers: Its layers.
        box_drop: Points of box AP.
        mask_drop: Points of mask AP.
    """

    block: str
    layers: tuple[str, ...]
    box_drop: float
    mask_drop: float

    @property
    def drop(self) -> float:
        """The worse of the two."""
        return max(self.box_drop, self.mask_drop)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStep:
    """A network with some blocks reverted.

    Attributes:
        reverted: Block that went back to higher precision in this step; empty for the first.
        box_drop: Points of box AP lost against FP32.
        mask_drop: Points of mask AP lost against FP32.
        speed: Times as fast as FP32.
    """

    reverted: str
    box_drop: float
    mask_drop: float
    speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyBudget:
    """The way to a network within the budget.

    Attributes:
        met: The last step is within the budget.
        float_layers: Layers in higher precision in the last step.
        score: Of the last step.
    """

    met: bool
    score: Score
    float_layers: tuple[str, ...]
    steps: tuple[BudgetStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityAnalysis:
    """What sensitivity is measured with.

    Attributes:
        quantised_models: Makes the networks.
        table: Ranges.
        graph: The FP32 portable graph as layers.
        evaluator: Scores them.
        base: Score of the FP32 graph.
    """

    quantised_models: QuantisedModels
    table: CalibrationTable
    graph: LayerGraph
    evaluator: Evaluator
    base: Score

    def score(self, excluded_layers: Sequence[str]) -> Score:
        """Score the network that leaves `excluded_layers` in higher precision."""
        with self.quantised_models.model_with(self.table, excluded_layers) as model:
            return self.evaluator.score(model)


def block_costs(analysis: SensitivityAnalysis, progress: Callable[[str], None]) -> tuple[BlockCost, ...]:
    """Quantise each block alone and score it; the costliest first."""
    blocks = quantisable_blocks(analysis.graph)
    costs = []
    for number, (block, layers) in enumerate(blocks.items(), start=1):
        progress(f"sensitivity: block {number} of {len(blocks)}, {block}")
        others = [layer for name, group in blocks.items() if name != block for layer in group]
        score = analysis.score(others)
        costs.append(
            BlockCost(
                block=block,
                layers=layers,
                box_drop=analysis.base.box_ap - score.box_ap,
                mask_drop=analysis.base.mask_ap - score.mask_ap,
            )
        )
    return tuple(sorted(costs, key=lambda cost: -cost.drop))


def fit_to_budget(
    analysis: SensitivityAnalysis,
    max_drop: float,
    costs: Callable[[], Sequence[BlockCost]],
    progress: Callable[[str], None],
) -> AccuracyBudget:
    """Revert the costliest blocks one by one until the loss of AP is within the budget.

    Args:
        analysis: What to measure with.
        max_drop: Points of AP that may be lost, of boxes and of masks.
        costs: Gives the blocks, costliest first; only called where quantising everything loses too much.
        progress: Called with a line before each measurement.
    """
    reverted: list[str] = []
    progress("measuring INT8")
    score = analysis.score(reverted)
    steps = [_step("", score, analysis.base)]
    remaining: Iterator[BlockCost] | None = None
    while score.drop_from(analysis.base) > max_drop:
        remaining = remaining or iter(costs())
        if (cost := next(remaining, None)) is None:
            break
        reverted += cost.layers
        progress(f"measuring INT8 without {cost.block}")
        score = analysis.score(reverted)
        steps.append(_step(cost.block, score, analysis.base))
    return AccuracyBudget(
        met=score.drop_from(analysis.base) <= max_drop,
        score=score,
        float_layers=tuple(reverted),
        steps=tuple(steps),
    )


def _step(block: str, score: Score, base: Score) -> BudgetStep:
    return BudgetStep(
        reverted=block,
        box_drop=base.box_ap - score.box_ap,
        mask_drop=base.mask_ap - score.mask_ap,
        speed=base.latency_ms / score.latency_ms,
    )
