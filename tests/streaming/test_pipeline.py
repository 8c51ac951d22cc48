"""The stages of a run at the same time: order, freshness, ends and errors."""

from __future__ import annotations

import threading
import time

import pytest

from edgeseg.errors import ArtifactError, InputError
from edgeseg.runtime.model import Model
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.pipeline import Pipeline
from edgeseg.streaming.postprocessing import Interpretation
from edgeseg.streaming.stage_queue import Ended
from edgeseg.vision.frames import Skipped, SourceKind
from tests.runtime.fake_bundle import make_spec

from .found_raw import raw_detections
from .frame_readers import ListIntake, frames

LONG_S = 60.0


class StandIn:
    """A backend that finds one thing, as wide as its image is bright, and takes its time."""

    description = "stand-in"

    def __init__(self, spec, seconds=0.0, fails_at=None) -> None:
        self.spec, self.seconds, self.fails_at = spec, seconds, fails_at
        self.calls, self.thresholds, self.closed = 0, [], False

    def __call__(self, images, score_threshold):
        self.calls += 1
        self.thresholds.append(score_threshold)
        if self.calls == self.fails_at:
            msg = "the graph failed"
            raise ArtifactError(msg)
        time.sleep(self.seconds)
        return raw_detections(self.spec, images[:, 0, 0, 0])

    def close(self) -> None:
        self.closed = True


def make_pipeline(intake, *, batch=1, seconds=0.0, fails_at=None, max_frames=None, controls=None):
    spec = make_spec(batch=batch)
    backend = StandIn(spec, seconds, fails_at)
    pipeline = Pipeline(Model(spec, backend), intake, controls or Controls(0.5), Interpretation(), max_frames)
    pipeline.start()
    return pipeline, backend


def everything(pipeline):
    """Take what comes until the end; the error that ended it, if any, comes last."""
    found = []
    while True:
        try:
            item = pipeline.poll(LONG_S)
        except Ended:
            pipeline.close()
            return found
        except (ArtifactError, InputError, RuntimeError) as exc:
            pipeline.close()
            return [*found, exc]
        assert item is not None
        found.append(item)


def stages() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg-")]


@pytest.mark.parametrize("batch", [1, 4])
def test_every_frame_of_a_file_in_order_with_its_own_result(batch):
    pipeline, backend = make_pipeline(ListIntake(frames(10)), batch=batch)
    results = everything(pipeline)

    assert [result.frame.image_id for result in results] == list(range(10))
    assert [round(float(result.detections.boxes_xyxy[0, 2])) for result in results] == [
        10 + index for index in range(10)
    ]
    assert backend.calls == -(-10 // batch)
    assert all(set(result.stages_ms) == {"read", "prepare", "infer", "finish"} for result in results)
    assert results[0].age_ms is None
    assert stages() == []


def test_no_more_frames_than_asked_for_are_taken():
    intake = ListIntake(frames(10))
    pipeline, _ = make_pipeline(intake, batch=4, max_frames=6)

    assert len(everything(pipeline)) == 6
    assert intake.asked == [4, 2]


def test_what_cannot_be_read_is_handed_through():
    items = [frames(1)[0], Skipped(name="b.png", reason="broken"), frames(1)[0]]
    pipeline, _ = make_pipeline(ListIntake(items), batch=2)
    found = everything(pipeline)

    assert len(found) == 3
    assert [item.name for item in found if isinstance(item, Skipped)] == ["b.png"]


def test_stages_overlap():
    """Two batches are in hand while a third is computed: the network never waits for the others."""
    taken = threading.Event()

    class Slow(ListIntake):
        def take(self, count):
            items = super().take(count)
            if len(self.asked) == 2:
                taken.set()
            return items

    class Waiting(StandIn):
        def __call__(self, images, score_threshold):
            # Were the stages in one thread, the second frame would never be taken meanwhile.
            assert taken.wait(LONG_S)
            return super().__call__(images, score_threshold)

    spec = make_spec()
    pipeline = Pipeline(Model(spec, Waiting(spec)), Slow(frames(3)), Controls(), Interpretation())
    pipeline.start()
    assert len(everything(pipeline)) == 3


def test_an_error_comes_after_the_results_before_it():
    found = everything(make_pipeline(ListIntake(frames(6)), fails_at=4)[0])

    assert [getattr(item, "frame", None) and item.frame.image_id for item in found[:-1]] == [0, 1, 2]
    assert str(found[-1]) == "the graph failed"
    assert stages() == []


def test_an_intake_that_fails():
    found = everything(make_pipeline(ListIntake([*frames(2), InputError("camera is gone")]))[0])

    assert len(found) == 3
    assert str(found[-1]) == "camera is gone"


def test_a_fault_of_the_programs_own_is_raised_as_it_is():
    found = everything(make_pipeline(ListIntake([*frames(1), RuntimeError("bug")]))[0])

    assert isinstance(found[-1], RuntimeError)
    assert stages() == []


def test_close_in_the_middle_ends_all_threads_and_waits_for_the_network():
    pipeline, backend = make_pipeline(ListIntake(frames(200)), seconds=0.01)
    assert pipeline.poll(LONG_S) is not None
    pipeline.close()
    calls = backend.calls

    assert stages() == []
    assert calls < 200
    pipeline.close()


def test_a_wish_to_stop_ends_after_the_frame_in_hand():
    controls = Controls()
    intake = ListIntake(None, SourceKind.LIVE, 0.001)
    pipeline, _ = make_pipeline(intake, controls=controls)
    assert pipeline.poll(LONG_S) is not None
    controls.stopping.set()

    assert len(everything(pipeline)) < 10


def test_closing_before_the_start():
    spec = make_spec()
    Pipeline(Model(spec, StandIn(spec)), ListIntake([]), Controls(), Interpretation()).close()


def test_a_live_frame_is_taken_when_the_network_is_about_to_be_free():
    """Each is younger than the inference it waited for would make it, had it been taken when that began."""
    seconds = 0.1
    intake = ListIntake(None, SourceKind.LIVE)
    pipeline, _ = make_pipeline(intake, seconds=seconds, max_frames=20)
    results = everything(pipeline)

    ages = sorted(result.age_ms for result in results)
    assert len(results) == 20
    assert min(ages) >= 1000 * seconds
    # The median, as a machine that is busy elsewhere may hold up any single one.
    assert ages[len(ages) // 2] < 2000 * seconds


def test_the_first_live_frame_does_not_wait_for_the_network_to_warm_up():
    backends = {}
    for kind in (SourceKind.LIVE, SourceKind.VIDEO):
        intake = ListIntake(frames(1), kind)
        pipeline, backends[kind] = make_pipeline(intake)
        assert len(everything(pipeline)) == 1

    assert (backends[SourceKind.LIVE].calls, backends[SourceKind.VIDEO].calls) == (2, 1)


def test_the_threshold_holds_from_the_next_frame_on():
    controls = Controls(0.2)
    pipeline, backend = make_pipeline(ListIntake(frames(50)), controls=controls)
    first = pipeline.poll(LONG_S)
    controls.score_threshold = 0.95
    rest = everything(pipeline)

    assert len(first.detections) == 1
    assert len(rest[-1].detections) == 0
    assert {backend.thresholds[0], backend.thresholds[-1]} == {0.2, 0.95}
