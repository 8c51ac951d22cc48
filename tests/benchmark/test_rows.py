"""Which rows there are, and what those say that cannot run here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeseg.benchmark import rows
from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.rows import RunContext, find_checkpoint, make_row_runs
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ConfigError, InputError
from edgeseg.files.reading import sha256_from_file
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = (
    "pytorch-eager",
    "pytorch-best",
    "naive-onnxruntime",
    "naive-openvino",
    "onnxruntime-fp32",
    "onnxruntime-int8",
    "openvino-fp32",
    "openvino-bf16",
    "openvino-int8",
)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr(rows, "_unavailable_reason", lambda target: "no NVIDIA GPU can be used here")
    checkpoint = tmp_path / "fake.pth"
    checkpoint.write_bytes(b"weights")
    bundle = open_bundle(make_bundle(tmp_path / "model", checkpoint_sha256=sha256_from_file(checkpoint)))
    return RunContext(
        bundle=bundle,
        model=bundle.path,
        folder=tmp_path,
        checkpoint=checkpoint,
        factory=None,
        threads=2,
        cores=(0, 1),
    )


def test_every_row_is_there_whether_or_not_it_can_run(context: RunContext) -> None:
    row_runs = {row_run.row.name: row_run for row_run in make_row_runs(context, ())}

    assert tuple(row_runs) == (*ALWAYS, "tensorrt", "tensorrt-rtx")
    assert {name for name, row_run in row_runs.items() if row_run.failure} == {"tensorrt", "tensorrt-rtx"}
    assert row_runs["tensorrt"].failure == "no NVIDIA GPU can be used here"
    assert row_runs["tensorrt"].refused
    assert row_runs["openvino-int8"].row.label == "OpenVINO INT8"
    assert {row_run.runner_spec.threads for row_run in row_runs.values()} == {2}


def test_engines_for_a_gpu_are_rows_where_there_is_one(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_unavailable_reason", lambda target: "")
    engines = context.bundle.path / "engines"
    engines.mkdir()
    for precision in ("fp16", "int8"):
        (engines / f"tensorrt-{precision}.json").write_text("{}")
    row_runs = make_row_runs(context, ("tensorrt*",))

    assert [row_run.row.name for row_run in row_runs] == ["tensorrt-fp16", "tensorrt-int8", "tensorrt-rtx"]
    assert "`edgeseg build-engine --target tensorrt-rtx --model" in row_runs[2].failure


def test_engines_and_commands_are_those_of_the_users_bundle(
    context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "_unavailable_reason", lambda target: "")
    engines = context.model / "engines"
    engines.mkdir()
    (engines / "tensorrt-fp16.json").write_text("{}")
    anew = replace(context, bundle=open_bundle(make_bundle(tmp_path / "anew", batch=2)))
    row_runs = make_row_runs(anew, ("tensorrt*",))

    assert (context.is_rebatched, anew.is_rebatched) == (False, True)
    assert [row_run.row.name for row_run in row_runs] == ["tensorrt-fp16", "tensorrt-rtx"]
    assert row_runs[0].runner_spec.model == str(tmp_path / "anew")
    assert f"--model {context.model}`" in row_runs[1].failure


def test_without_the_checkpoint_its_rows_say_so(context: RunContext) -> None:
    row_runs = make_row_runs(replace(context, checkpoint=None), ())
    told = [row_run for row_run in row_runs if "--checkpoint" in row_run.failure]

    assert [row_run.row.name for row_run in told] == list(ALWAYS[:4])
    assert "it needs fake.pth, which the bundle was exported from" in told[0].failure


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("openvino-int8",), ["openvino-int8"]),
        (("*-int8", "pytorch-eager"), ["pytorch-eager", "onnxruntime-int8", "openvino-int8"]),
    ],
)
def test_rows_by_name(context: RunContext, patterns: tuple[str, ...], names: list[str]) -> None:
    assert [row_run.row.name for row_run in make_row_runs(context, patterns)] == names


def test_a_row_that_there_is_not(context: RunContext) -> None:
    with pytest.raises(ConfigError, match=r"rows must be some of pytorch-eager, .*, got 'openvino-int4'"):
        make_row_runs(context, ("openvino-int4",))


def test_the_checkpoint_is_found_beside_the_bundle_or_here(
    context: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BenchmarkConfig()
    assert find_checkpoint(config, context.bundle) == tmp_path.resolve() / "fake.pth"

    (tmp_path / "here").mkdir()
    (tmp_path / "fake.pth").rename(tmp_path / "here/fake.pth")
    assert find_checkpoint(config, context.bundle) is None
    monkeypatch.chdir(tmp_path / "here")
    found = find_checkpoint(config, context.bundle)
    assert found is not None
    assert found.name == "fake.pth"

    found.write_bytes(b"other weights")
    assert find_checkpoint(config, context.bundle) is None


def test_another_checkpoint_is_refused(context: RunContext, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkpoint at .*absent\.pth"):
        find_checkpoint(BenchmarkConfig(checkpoint=tmp_path / "absent.pth"), context.bundle)
    other = tmp_path / "other.pth"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match=r"exported from fake\.pth .* and .*other\.pth is another"):
        find_checkpoint(BenchmarkConfig(checkpoint=other), context.bundle)
    found = find_checkpoint(BenchmarkConfig(checkpoint=tmp_path / "fake.pth"), context.bundle)
    assert found == tmp_path / "fake.pth"


def test_annotations_bring_a_row_with_torchvision_s_own_resizing(context: RunContext) -> None:
    assert "pytorch-resizing" not in [row_run.row.name for row_run in make_row_runs(context, ())]
    (row_run,) = make_row_runs(replace(context, scored=True), ("pytorch-resizing",))
    assert row_run.row.label == "PyTorch, own resizing"
    assert row_run.runner_spec.own_resizing
