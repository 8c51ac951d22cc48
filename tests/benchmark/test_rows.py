"""Which rows there are, and what those say that cannot run here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeseg.benchmark import rows
from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.rows import Common, find_checkpoint, make_lanes
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ConfigError, InputError
from edgeseg.files.reading import sha256_of
from tests.runtime.fake_bundle import make_bundle

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
def common(tmp_path, monkeypatch) -> Common:
    monkeypatch.setattr(rows, "_why_not", lambda target: "no NVIDIA GPU can be used here")
    checkpoint = tmp_path / "fake.pth"
    checkpoint.write_bytes(b"weights")
    bundle = open_bundle(make_bundle(tmp_path / "model", checkpoint_sha256=sha256_of(checkpoint)))
    return Common(
        bundle=bundle,
        model=bundle.path,
        folder=tmp_path,
        checkpoint=checkpoint,
        factory=None,
        threads=2,
        cores=(0, 1),
    )


def test_every_row_is_there_whether_or_not_it_can_run(common):
    lanes = {lane.row.name: lane for lane in make_lanes(common, ())}

    assert tuple(lanes) == (*ALWAYS, "tensorrt", "tensorrt-rtx")
    assert {name for name, lane in lanes.items() if lane.failure} == {"tensorrt", "tensorrt-rtx"}
    assert lanes["tensorrt"].failure == "no NVIDIA GPU can be used here"
    assert lanes["tensorrt"].refused
    assert lanes["openvino-int8"].row.label == "OpenVINO INT8"
    assert {lane.recipe.threads for lane in lanes.values()} == {2}


def test_engines_for_a_gpu_are_rows_where_there_is_one(common, monkeypatch):
    monkeypatch.setattr(rows, "_why_not", lambda target: "")
    engines = common.bundle.path / "engines"
    engines.mkdir()
    for precision in ("fp16", "int8"):
        (engines / f"tensorrt-{precision}.json").write_text("{}")
    lanes = make_lanes(common, ("tensorrt*",))

    assert [lane.row.name for lane in lanes] == ["tensorrt-fp16", "tensorrt-int8", "tensorrt-rtx"]
    assert "`edgeseg build-engine --target tensorrt-rtx --model" in lanes[2].failure


def test_engines_and_commands_are_those_of_the_users_bundle(common, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "_why_not", lambda target: "")
    engines = common.model / "engines"
    engines.mkdir()
    (engines / "tensorrt-fp16.json").write_text("{}")
    anew = replace(common, bundle=open_bundle(make_bundle(tmp_path / "anew", batch=2)))
    lanes = make_lanes(anew, ("tensorrt*",))

    assert (common.exported_anew, anew.exported_anew) == (False, True)
    assert [lane.row.name for lane in lanes] == ["tensorrt-fp16", "tensorrt-rtx"]
    assert lanes[0].recipe.model == str(tmp_path / "anew")
    assert f"--model {common.model}`" in lanes[1].failure


def test_without_the_checkpoint_its_rows_say_so(common):
    lanes = make_lanes(replace(common, checkpoint=None), ())
    told = [lane for lane in lanes if "--checkpoint" in lane.failure]

    assert [lane.row.name for lane in told] == list(ALWAYS[:4])
    assert "it needs fake.pth, which the bundle was exported from" in told[0].failure


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (("openvino-int8",), ["openvino-int8"]),
        (("*-int8", "pytorch-eager"), ["pytorch-eager", "onnxruntime-int8", "openvino-int8"]),
    ],
)
def test_rows_by_name(common, patterns, names):
    assert [lane.row.name for lane in make_lanes(common, patterns)] == names


def test_a_row_that_there_is_not(common):
    with pytest.raises(ConfigError, match=r"rows must be some of pytorch-eager, .*, got 'openvino-int4'"):
        make_lanes(common, ("openvino-int4",))


def test_the_checkpoint_is_found_beside_the_bundle_or_here(common, tmp_path, monkeypatch):
    config = BenchmarkConfig()
    assert find_checkpoint(config, common.bundle) == tmp_path.resolve() / "fake.pth"

    (tmp_path / "here").mkdir()
    (tmp_path / "fake.pth").rename(tmp_path / "here/fake.pth")
    assert find_checkpoint(config, common.bundle) is None
    monkeypatch.chdir(tmp_path / "here")
    found = find_checkpoint(config, common.bundle)
    assert found is not None
    assert found.name == "fake.pth"

    found.write_bytes(b"other weights")
    assert find_checkpoint(config, common.bundle) is None


def test_another_checkpoint_is_refused(common, tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint at .*absent\.pth"):
        find_checkpoint(BenchmarkConfig(checkpoint=tmp_path / "absent.pth"), common.bundle)
    other = tmp_path / "other.pth"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match=r"exported from fake\.pth .* and .*other\.pth is another"):
        find_checkpoint(BenchmarkConfig(checkpoint=other), common.bundle)
    found = find_checkpoint(BenchmarkConfig(checkpoint=tmp_path / "fake.pth"), common.bundle)
    assert found == tmp_path / "fake.pth"


def test_annotations_bring_a_row_with_torchvision_s_own_resizing(common) -> None:
    assert "pytorch-resizing" not in [lane.row.name for lane in make_lanes(common, ())]
    (lane,) = make_lanes(replace(common, scored=True), ("pytorch-resizing",))
    assert lane.row.label == "PyTorch, own resizing"
    assert lane.recipe.own_resizing
