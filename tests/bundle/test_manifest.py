from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edgeseg.bundle.manifest import MANIFEST, check_bundle_folder, open_bundle, staged, write_manifest
from edgeseg.errors import ArtifactError, ConfigError, EdgeSegError
from edgeseg.spec import Lowering, ModelSpec
from tests.test_spec import FACTS

if TYPE_CHECKING:
    from pathlib import Path

GRAPHS = [lowering.file_name for lowering in Lowering]
SPEC = ModelSpec(**FACTS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    fill(folder)
    return folder


def fill(folder: Path, content: bytes = b"graph") -> None:
    for name in GRAPHS:
        (folder / name).write_bytes(content * 100)
    write_manifest(folder, SPEC, GRAPHS)


def edit(model: Path, **changes: object) -> None:
    data = json.loads((model / MANIFEST).read_text("utf-8"))
    (model / MANIFEST).write_text(json.dumps({**data, **changes}), "utf-8")


def test_round_trip(model: Path) -> None:
    bundle = open_bundle(model)

    assert bundle.spec == SPEC
    assert bundle.files["portable.onnx"].size == 500
    assert bundle.graph_path(Lowering.PORTABLE) == model / "portable.onnx"


def test_folder_that_was_moved(model: Path) -> None:
    moved = model.rename(model.with_name("elsewhere"))

    assert open_bundle(moved).path == moved


@pytest.mark.parametrize("name", ["absent", "absent/deeper"])
def test_no_bundle_says_how_to_make_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match=f"no bundle at .*{name}.*edgeseg export CKPT -o"):
        open_bundle(tmp_path / name)


def test_a_file_in_the_place_of_the_folder(model: Path) -> None:
    with pytest.raises(ArtifactError, match="no bundle at"):
        open_bundle(model / "portable.onnx")


def test_missing_graph(model: Path) -> None:
    (model / "tensorrt.onnx").unlink()

    with pytest.raises(ArtifactError, match=r"tensorrt\.onnx is missing from the bundle"):
        open_bundle(model)


def test_truncated_graph(model: Path) -> None:
    (model / "portable.onnx").write_bytes(b"graph")

    with pytest.raises(ArtifactError, match=r"portable\.onnx has 5 bytes and must have 500: truncated"):
        open_bundle(model)


def test_altered_graph_of_the_same_size(model: Path) -> None:
    (model / "portable.onnx").write_bytes(b"Graph" + b"graph" * 99)

    with pytest.raises(ArtifactError, match=r"portable\.onnx was altered after export"):
        open_bundle(model)


def test_a_folder_in_the_place_of_a_graph(model: Path) -> None:
    (model / "portable.onnx").unlink()
    (model / "portable.onnx").mkdir()

    with pytest.raises(ArtifactError, match=r"portable\.onnx"):
        open_bundle(model)


@pytest.mark.parametrize("keep", [0, 1, 40, 200])
def test_truncated_manifest(model: Path, keep: int) -> None:
    text = (model / MANIFEST).read_text("utf-8")
    (model / MANIFEST).write_text(text[:keep], "utf-8")

    with pytest.raises(ArtifactError, match=r"model\.json is not valid JSON"):
        open_bundle(model)


def test_manifest_that_is_not_text(model: Path) -> None:
    (model / MANIFEST).write_bytes(b"\xff\xfe\x00\x81")

    with pytest.raises(ArtifactError, match=r"model\.json is not valid JSON"):
        open_bundle(model)


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_other_format(model: Path, number: object) -> None:
    edit(model, format=number)

    with pytest.raises(ArtifactError, match=f"of format {number!r}, not 1; export the bundle again"):
        open_bundle(model)


@pytest.mark.parametrize(
    "changes", [{"author": "x"}, {"files": []}, {"spec": None}, {"files": {"a": {"size": 1}}}]
)
def test_manifest_of_another_shape(model: Path, changes: dict[str, object]) -> None:
    edit(model, **changes)

    with pytest.raises(ArtifactError, match=r"model\.json"):
        open_bundle(model)


def test_manifest_with_a_size_that_cannot_be(model: Path) -> None:
    spec = json.loads((model / MANIFEST).read_text("utf-8"))["spec"]
    edit(model, spec={**spec, "input_size_hw": [33, 64]})

    with pytest.raises(EdgeSegError, match="multiples of 32, got 33 64"):
        open_bundle(model)


def test_graph_that_the_bundle_was_made_without(tmp_path: Path) -> None:
    (tmp_path / "portable.onnx").write_bytes(b"graph")
    write_manifest(tmp_path, SPEC, ["portable.onnx"])

    with pytest.raises(ArtifactError, match=r"has no tensorrt\.onnx"):
        open_bundle(tmp_path).graph_path(Lowering.TENSORRT)


def test_bundle_from_before_the_half_precision_graph(tmp_path: Path) -> None:
    old = ["portable.onnx", "tensorrt.onnx"]
    for name in old:
        (tmp_path / name).write_bytes(b"graph")
    write_manifest(tmp_path, SPEC, old)

    with pytest.raises(ArtifactError, match=r"no tensorrt-fp16\.onnx; export it again"):
        open_bundle(tmp_path).graph_path(Lowering.TENSORRT_FP16)


def test_staged_bundle_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deeper" / "model"

    with staged(target, force=False) as folder:
        fill(folder)
        assert not target.exists()

    assert open_bundle(target).spec == SPEC
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def stop_half_way(target: Path, *, force: bool) -> None:
    with staged(target, force=force) as folder:
        fill(folder, b"other")
        raise KeyboardInterrupt


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(tmp_path / "model", force=False)

    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_bundle_that_was_to_be_replaced(model: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(model, force=True)

    assert open_bundle(model).spec == SPEC
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_force_replaces(model: Path) -> None:
    with staged(model, force=True) as folder:
        fill(folder, b"other")

    assert open_bundle(model).path == model
    assert (model / "portable.onnx").read_bytes().startswith(b"other")


def test_nothing_is_overwritten_unasked(model: Path) -> None:
    with pytest.raises(ConfigError, match="already holds a bundle; pass --force"):
        check_bundle_folder(model, force=False)


def test_a_folder_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", "utf-8")

    with pytest.raises(ConfigError, match="is not a bundle"):
        check_bundle_folder(tmp_path, force=True)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with staged(tmp_path / "empty", force=False) as folder:
        fill(folder)

    assert open_bundle(tmp_path / "empty").spec == SPEC
