"""The search itself: coarse to fine over shapes, leaving out what cannot win."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeseg.errors import EdgeSegError

from .candidate import Candidate, CandidateState, TradeOffPoint
from .frontier import choose, frontier, meets_limits, nearest
from .pruning import reason_not_to_score, reason_not_to_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edgeseg.bundle.engines import Precision, Target
    from edgeseg.quantisation.evaluator import Score

    from .candidate import Shape, ShapeGrid
    from .config import TuneLimits

# Where nothing is fast enough, so many of the fastest are scored, to name the nearest.
SCORED_TOO_SLOW = 3
# Loaded at once in the last comparison, each in a process of its own.
FINALISTS = 4


class Timing(NamedTuple):
    """Median of a call in milliseconds, or why there is none."""

    latency_ms: float | None
    failure: str = ""


class Measurer(Protocol):
    """What makes candidates and measures them. Errors that concern one candidate are told, others raised."""

    def time_candidates(self, candidates: Sequence[Candidate], turns: int) -> dict[Candidate, Timing]:
        """Time candidates turn by turn, on the same frames."""

    def score(self, candidate: Candidate) -> Score:
        """Score a candidate.

        Raises:
            EdgeSegError: It cannot run.
        """

    def keep(self, shapes: Collection[Shape]) -> None:
        """Throw the files of all other shapes away."""


class OutOfTimeError(EdgeSegError):
    """The time that was given is over."""


class SearchPlan(NamedTuple):
    """What is searched.

    Attributes:
        engines: Targets and precisions that run here; one is of full precision, and the first such is the
            reference.
        threads: Numbers to try, the one to begin with first.
        turns: Of a comparison.
        until_s: Time of the clock after which no further measurement begins.
    """

    grid: ShapeGrid
    engines: tuple[tuple[Target, Precision], ...]
    threads: tuple[int, ...]
    limits: TuneLimits
    turns: int
    until_s: float


class Search:
    """A search while it goes on; what it knows is in `points` at any time.

    Args:
        plan: What is searched.
        measurer: What measures.
        progress: Called with a line at each step.
        clock: Seconds that never go back; tests put another in its place.

    Attributes:
        points: Candidate to what is known of it.
        reference: Full precision at full size; None before it was scored.
    """

    def __init__(
        self,
        plan: SearchPlan,
        measurer: Measurer,
        progress: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.points: dict[Candidate, TradeOffPoint] = {}
        self.reference: Candidate | None = None
        self._measurer = measurer
        self._progress = progress
        self._clock = clock
        self._reference_score: Score | None = None
        self._visited: set[Shape] = set()

    def run(self) -> None:
        """Search until nothing is left that could win.

        Raises:
            EdgeSegError: The reference cannot be measured, so that there is nothing to compare with.
            KeyboardInterrupt: Ctrl-C.
            OutOfTimeError: The time is over.
        """
        self._measure_reference()
        try:
            self._explore()
        except OutOfTimeError:
            # Figures of several comparisons do not compare well, so there is a last one all the same.
            self._compare()
            raise
        self._compare()

    def _explore(self) -> None:
        first, *others = self.plan.grid.coarse_shapes()
        # The smallest is timed at once, as it may rule all else out, and scored last, if there is hope.
        self._time(first)
        for coarse in others:
            self._visit(coarse)
        self._score_promising(first)
        while (fine := self._next_shape()) is not None:
            self._visit(fine)
        if self.chosen is None:
            self._score_too_slow()

    @property
    def chosen(self) -> TradeOffPoint | None:
        """What would be taken by now."""
        return choose(self.points.values(), self.plan.limits)

    @property
    def nearest(self) -> TradeOffPoint | None:
        """What is least beyond the limits by now."""
        return nearest(self.points.values(), self.plan.limits)

    @property
    def frontier(self) -> tuple[TradeOffPoint, ...]:
        """What nothing else beats by now."""
        return frontier(self.points.values())

    def _measure_reference(self) -> None:
        target, precision = next(pair for pair in self.plan.engines if pair[1].value == "fp32")
        reference = self._candidate(self.plan.grid.largest, target, precision)
        self._progress(f"reference: {reference}")
        self._reference_score = self._measurer.score(reference)
        timed = self._measurer.time_candidates([reference], self.plan.turns)[reference]
        if timed.latency_ms is None:
            raise EdgeSegError(timed.failure)
        self.reference = reference
        self.points[reference] = self._scored(reference, timed.latency_ms, self._reference_score)

    def _candidate(self, shape: Shape, target: Target, precision: Precision) -> Candidate:
        return Candidate(shape=shape, target=target, precision=precision, threads=self.plan.threads[0])

    def _next_shape(self) -> Shape | None:
        """Name the next shape: beside the best point, then beside others of the frontier that fit."""
        best = self.chosen or self.nearest
        for point in (*([best] if best else []), *self._within_limits()):
            for shape in self.plan.grid.neighbours(point.candidate.shape):
                if shape not in self._visited:
                    return shape
        return None

    def _visit(self, shape: Shape) -> None:
        self._time(shape)
        self._score_promising(shape)

    def _time(self, shape: Shape) -> None:
        """Time all engines of a shape together, but for those that cannot win."""
        self._visited.add(shape)
        candidates = [self._candidate(shape, *engine) for engine in self.plan.engines]
        tried = [candidate for candidate in candidates if self._may_win(candidate)]
        if not tried:
            return
        self._check_time()
        self._progress(f"{shape}: timing {', '.join(candidate.engine for candidate in tried)}")
        for candidate, timed in self._measurer.time_candidates(tried, self.plan.turns).items():
            self._record_timing(candidate, timed)

    def _score_promising(self, shape: Shape) -> None:
        """Score what was timed of a shape and may win, the fastest first."""
        timed = [item for item in self.points if item.shape == shape]
        for candidate in sorted(timed, key=self._latency):
            if self._worth_scoring(candidate):
                self._score(candidate)
        self._measurer.keep(self._shapes_to_keep())

    def _record_timing(self, candidate: Candidate, timed: Timing) -> None:
        known = self.points.get(candidate)
        if timed.latency_ms is None:
            self.points[candidate] = TradeOffPoint(
                candidate=candidate, state=CandidateState.FAILED, remark=timed.failure
            )
        elif known is not None and known.state is CandidateState.MEASURED:
            self.points[candidate] = replace(known, latency_ms=timed.latency_ms)
        else:
            self.points[candidate] = TradeOffPoint(
                candidate=candidate, state=CandidateState.TIMED, latency_ms=timed.latency_ms
            )

    def _may_win(self, candidate: Candidate) -> bool:
        """Whether a candidate may win after all that is known; if not, its point says why."""
        reason = reason_not_to_time(candidate, self.points.values(), self.plan.limits)
        if reason:
            self.points[candidate] = TradeOffPoint(
                candidate=candidate, state=CandidateState.SKIPPED, remark=reason
            )
        return not reason

    def _worth_scoring(self, candidate: Candidate) -> bool:
        """Whether accuracy decides anything; if not, the point says why."""
        point = self.points[candidate]
        if point.state is not CandidateState.TIMED:
            return False
        others, limits = self.points.values(), self.plan.limits
        if reason := reason_not_to_score(point, others, limits) or reason_not_to_time(
            candidate, others, limits
        ):
            self.points[candidate] = replace(point, remark=reason)
        return not reason

    def _latency(self, candidate: Candidate) -> float:
        known = self.points[candidate].latency_ms
        return float("inf") if known is None else known

    def _score(self, candidate: Candidate) -> None:
        self._check_time()
        self._progress(f"scoring {candidate}")
        try:
            score = self._measurer.score(candidate)
        except EdgeSegError as exc:
            self.points[candidate] = replace(
                self.points[candidate], state=CandidateState.FAILED, remark=str(exc)
            )
            return
        self.points[candidate] = self._scored(candidate, self._latency(candidate), score)

    def _scored(self, candidate: Candidate, latency_ms: float, score: Score) -> TradeOffPoint:
        return TradeOffPoint(
            candidate=candidate,
            state=CandidateState.MEASURED,
            latency_ms=latency_ms,
            box_ap=score.box_ap,
            mask_ap=score.mask_ap,
            lost=score.drop_from(self._reference_score or score),
        )

    def _score_too_slow(self) -> None:
        """Score the fastest where nothing keeps to the limits, so that the nearest can be named."""
        for point in self._fastest_unscored():
            self._score(point.candidate)

    def _fastest_unscored(self) -> list[TradeOffPoint]:
        limit = self.plan.limits.max_latency_ms
        unscored = [
            point
            for point in self.points.values()
            if point.state is CandidateState.TIMED and limit and self._latency(point.candidate) > limit
        ]
        return sorted(unscored, key=lambda point: point.latency_ms or 0.0)[:SCORED_TOO_SLOW]

    def _compare(self) -> None:
        """Time the best again, together and with other numbers of threads: figures that can be compared."""
        best = self.chosen or self.nearest
        if best is None:
            return
        others = [point for point in self._within_limits() if point is not best][: FINALISTS - 1]
        finalists = [best.candidate, *(point.candidate for point in others)]
        variants = [replace(best.candidate, threads=threads) for threads in self.plan.threads[1:]]
        self._progress(f"comparing {len(finalists) + len(variants)} once more")
        timings = self._measurer.time_candidates([*finalists, *variants], 2 * self.plan.turns)
        for candidate, timed in timings.items():
            if candidate in variants and timed.latency_ms is not None:
                remark = f"AP is that of the same engine with {best.candidate.threads} threads"
                self.points[candidate] = replace(best, candidate=candidate, remark=remark)
            self._record_timing(candidate, timed)

    def _within_limits(self) -> list[TradeOffPoint]:
        return [point for point in self.frontier if meets_limits(point, self.plan.limits)]

    def _shapes_to_keep(self) -> set[Shape]:
        """Name the shapes that may be measured again."""
        best = self.chosen or self.nearest
        known = [*self.frontier, *self._fastest_unscored(), *([best] if best else [])]
        return {self.plan.grid.smallest, *(point.candidate.shape for point in known)}

    def _check_time(self) -> None:
        if self._clock() > self.plan.until_s:
            msg = "the time that was given is over"
            raise OutOfTimeError(msg)
