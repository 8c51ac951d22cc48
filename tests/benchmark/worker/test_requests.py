"""All that a row's process can be asked: there and back as JSON, and each with a handler that answers it."""

from __future__ import annotations

import json
import typing
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.benchmark.row import RowKind
from edgeseg.benchmark.runners import whole_model
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.statistics import roofline
from edgeseg.benchmark.worker import rebatching
from edgeseg.benchmark.worker.requests import (
    REQUESTS,
    AnyRequest,
    BuildRebatchedEngine,
    CallConcurrently,
    Close,
    DetectInstances,
    Failure,
    ListScores,
    LoadRow,
    MeasureRoofline,
    ReadMemory,
    RebatchBundle,
    Request,
    TimeCalls,
    WriteWholeModel,
    answer_from_json,
    answer_type,
    json_from_answer,
    json_from_request,
    request_from_json,
)
from edgeseg.benchmark.worker.service import WorkerService
from edgeseg.errors import ArtifactError
from tests.runtime.fake_bundle import SIZE_HW, make_bundle

if TYPE_CHECKING:
    from pathlib import Path

SPEC = RunnerSpec(
    kind=RowKind.BUNDLE, engine="onnxruntime", precision="fp32", model="model", threads=1, checkpoint="a.pth"
)
EXAMPLES: tuple[AnyRequest, ...] = (
    LoadRow(runner_spec=SPEC, frames="frames.npy"),
    WriteWholeModel(runner_spec=SPEC, frames="frames.npy"),
    RebatchBundle(model="model", folder="other", batch=2, checkpoint="a.pth", factory=None),
    BuildRebatchedEngine(runner_spec=SPEC, model="model"),
    MeasureRoofline(threads=1, cores=()),
    TimeCalls(batch=0, threshold=0.5, calls=2),
    ListScores(batch=0),
    ReadMemory(),
    CallConcurrently(callers=2, threshold=0.5, duration_s=0.01),
    DetectInstances(path="image.png", image_id=7, threshold=0.5),
    Close(),
)
by_verb = pytest.mark.parametrize("request_", EXAMPLES, ids=lambda request: request.verb)


def test_the_list_is_closed() -> None:
    assert set(REQUESTS.values()) == set(typing.get_args(AnyRequest)) == set(map(type, EXAMPLES))
    assert {kind.verb for kind in Request.__subclasses__()} == set(REQUESTS)
    assert len(REQUESTS) == len(EXAMPLES)


@by_verb
def test_a_request_survives_the_round_trip(request_: AnyRequest) -> None:
    assert request_from_json(json.loads(json.dumps(json_from_request(request_)))) == request_


def test_a_request_that_nobody_knows() -> None:
    with pytest.raises(ArtifactError, match="call: unknown key 'bach' in TimeCalls"):
        request_from_json({"do": "call", "bach": 0})
    with pytest.raises(KeyError, match="nothing"):
        request_from_json({"do": "nothing"})


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerService:
    """A loaded row; what takes minutes does nothing."""
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(whole_model, "write_whole_model", lambda *args: None)
    monkeypatch.setattr(rebatching, "rebatch_bundle", lambda *args: None)
    monkeypatch.setattr(rebatching, "build_rebatched_engine", lambda *args: None)
    monkeypatch.setattr(roofline, "measure_roofline", lambda threads: {"fp32": 100.0})
    make_bundle(tmp_path / "model")
    np.save("frames.npy", np.zeros((1, 1, *SIZE_HW, 3), np.uint8))
    cv2.imwrite("image.png", np.zeros((*SIZE_HW, 3), np.uint8))
    service = WorkerService()
    service.load(LoadRow(runner_spec=SPEC, frames="frames.npy"))
    return service


@by_verb
def test_every_request_has_a_handler_whose_answer_survives_the_round_trip(
    service: WorkerService, request_: AnyRequest
) -> None:
    answer = service.answer(request_)
    question: Request[Any] = request_

    assert type(answer) is answer_type(type(question))
    assert answer_from_json(question, json.loads(json.dumps(json_from_answer(answer)))) == answer
    service.close()


def test_a_failure_survives_the_round_trip() -> None:
    failure = Failure(error="no GPU", ours=True)

    assert json_from_answer(failure) == {"error": "no GPU", "ours": True}
    assert answer_from_json(ReadMemory(), json_from_answer(failure)) == failure
