from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from edgeseg.quantisation import sensitivity
from edgeseg.quantisation.evaluator import Score
from edgeseg.quantisation.sensitivity import SensitivityAnalysis, block_costs, fit_to_budget

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeseg.calibration.table import CalibrationTable

LAYERS = {"body": ("body.a", "body.b"), "neck": ("neck.a",), "head": ("head.a",)}
# Points of box AP that rounding a layer costs; they add up.
COSTS = {"body.a": 0.1, "body.b": 0.2, "neck.a": 2.0, "head.a": 0.7}
BASE = Score(box_ap=40.0, mask_ap=35.0, latency_ms=100.0)


class FakeTrials:
    def __init__(self) -> None:
        self.tried: list[tuple[str, ...]] = []

    @contextmanager
    def model_with(self, table: CalibrationTable | None, float_layers: Sequence[str]) -> Iterator[set[str]]:
        self.tried.append(tuple(float_layers))
        yield set(COSTS) - set(float_layers)


class FakeYardstick:
    def score(self, rounded: set[str]) -> Score:
        lost = sum(COSTS[layer] for layer in rounded)
        return Score(box_ap=40.0 - lost, mask_ap=35.0 - lost / 2, latency_ms=100.0 - 15 * len(rounded))


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> SensitivityAnalysis:
    monkeypatch.setattr(sensitivity, "quantisable_blocks", lambda graph: LAYERS)
    fakes: dict[str, Any] = {
        "quantised_models": FakeTrials(),
        "table": None,
        "graph": SimpleNamespace(),
        "evaluator": FakeYardstick(),
    }
    return SensitivityAnalysis(**fakes, base=BASE)


def test_each_block_is_rounded_alone_and_the_costliest_comes_first(analysis: SensitivityAnalysis) -> None:
    lines: list[str] = []

    costs = block_costs(analysis, lines.append)

    assert [cost.block for cost in costs] == ["neck", "head", "body"]
    assert [cost.box_drop for cost in costs] == pytest.approx([2.0, 0.7, 0.3])
    assert [cost.mask_drop for cost in costs] == pytest.approx([1.0, 0.35, 0.15])
    assert costs[2].layers == ("body.a", "body.b")
    quantised_models: Any = analysis.quantised_models
    assert quantised_models.tried[0] == ("neck.a", "head.a")
    assert lines[1] == "sensitivity: block 2 of 3, neck"


def test_blocks_are_reverted_until_the_budget_holds(analysis: SensitivityAnalysis) -> None:
    budget = fit_to_budget(analysis, 0.5, lambda: block_costs(analysis, print), lambda line: None)

    assert budget.met
    assert budget.float_layers == ("neck.a", "head.a")
    assert [step.reverted for step in budget.steps] == ["", "neck", "head"]
    assert [step.box_drop for step in budget.steps] == pytest.approx([3.0, 1.0, 0.3])
    assert budget.score.box_ap == pytest.approx(39.7)
    # Fewer rounded layers are slower.
    assert [step.speed for step in budget.steps] == pytest.approx([100 / 40, 100 / 55, 100 / 70])


def test_a_budget_that_holds_at_once_needs_no_ranking(analysis: SensitivityAnalysis) -> None:
    def never() -> NoReturn:
        pytest.fail("blocks were ranked for nothing")

    budget = fit_to_budget(analysis, 3.5, never, lambda line: None)

    assert budget.met
    assert budget.float_layers == ()
    assert len(budget.steps) == 1


def test_a_budget_that_cannot_hold_reverts_all_and_says_so(analysis: SensitivityAnalysis) -> None:
    better = replace(analysis, base=Score(box_ap=45.0, mask_ap=35.0, latency_ms=100.0))

    budget = fit_to_budget(better, 0.5, lambda: block_costs(better, print), lambda line: None)

    assert not budget.met
    assert set(budget.float_layers) == set(COSTS)


def test_masks_count_as_boxes_do() -> None:
    score = Score(box_ap=39.9, mask_ap=33.0, latency_ms=1.0)

    assert score.drop_from(BASE) == pytest.approx(2.0)
