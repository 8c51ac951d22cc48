"""What rounding each block costs, and reverting the worst until a budget holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.calibration.table import CalibrationTable
from edgeseg.graphs.layers import LayerGraph

from .candidate import Trials
from .evaluator import Score, Yardstick
from .plan import blocks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCost:
    """What rounding one block alone costs against FP32.

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
class Budget:
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
class Bench:
    """What sensitivity is measured with.

    Attributes:
        trials: Makes the networks.
        table: Ranges.
        graph: The FP32 portable graph as layers.
        yardstick: Scores them.
        base: Score of the FP32 graph.
    """

    trials: Trials
    table: CalibrationTable
    graph: LayerGraph
    yardstick: Yardstick
    base: Score

    def score(self, float_layers: Sequence[str]) -> Score:
        """Score the network that leaves `float_layers` in higher precision."""
        with self.trials.model_with(self.table, float_layers) as model:
            return self.yardstick.score(model)


def block_costs(bench: Bench, progress: Callable[[str], None]) -> tuple[BlockCost, ...]:
    """Round each block alone and score it; the costliest first."""
    blocks = blocks_of(bench.graph)
    costs = []
    for number, (block, layers) in enumerate(blocks.items(), start=1):
        progress(f"sensitivity: block {number} of {len(blocks)}, {block}")
        others = [layer for name, group in blocks.items() if name != block for layer in group]
        score = bench.score(others)
        costs.append(
            BlockCost(
                block=block,
                layers=layers,
                box_drop=bench.base.box_ap - score.box_ap,
                mask_drop=bench.base.mask_ap - score.mask_ap,
            )
        )
    return tuple(sorted(costs, key=lambda cost: -cost.drop))


def fit_budget(
    bench: Bench, max_drop: float, costs: Callable[[], Sequence[BlockCost]], progress: Callable[[str], None]
) -> Budget:
    """Revert the costliest blocks one by one until the loss of AP is within the budget.

    Args:
        bench: What to measure with.
        max_drop: Points of AP that may be lost, of boxes and of masks.
        costs: Gives the blocks, costliest first; only called where rounding everything loses too much.
        progress: Called with a line before each measurement.
    """
    reverted: list[str] = []
    progress("measuring INT8")
    score = bench.score(reverted)
    steps = [_step("", score, bench.base)]
    remaining: Iterator[BlockCost] | None = None
    while score.drop_from(bench.base) > max_drop:
        remaining = remaining or iter(costs())
        if (cost := next(remaining, None)) is None:
            break
        reverted += cost.layers
        progress(f"measuring INT8 without {cost.block}")
        score = bench.score(reverted)
        steps.append(_step(cost.block, score, bench.base))
    return Budget(
        met=score.drop_from(bench.base) <= max_drop,
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
