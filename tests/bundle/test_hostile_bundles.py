"""Bundles that were made to mislead, to hang or to take all memory; and records with any odd value at all."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.bundle.compatibility import DeviceInfo, open_engine
from edgeseg.bundle.engines import (
    EngineOptions,
    EngineRecord,
    Precision,
    Target,
    engine_path,
    read_engine_record,
    write_engine_record,
)
from edgeseg.bundle.manifest import CALIBRATION_FILE, MANIFEST, file_record, is_plain_name, open_bundle
from edgeseg.calibration.table import CalibrationTable, Method, Range, read_table, write_table
from edgeseg.errors import ArtifactError, EdgeSegError
from edgeseg.files.reading import MAX_JSON_BYTES
from edgeseg.records import json_from_record, parse_json
from edgeseg.runtime.model import load
from edgeseg.settings import ModelSettings, settings_from_json
from tests.altered import alter, sealed
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = 16
BAD_NAMES = (
    "../portable.onnx",
    "/etc/passwd",
    "a/b.onnx",
    "a\\b.onnx",
    "..",
    ".",
    "",
    "a\0b",
    "a\nb",
    "c:x",
    "\ud800",
    "sizes/../model.json",
    "sizes/1x1/../../model.json",
    "x" * 256,
    "sizes/64x96/portable.onnx",
    "a\x1b[2J",
    ".hidden",
    "a\x85",
)
# What JSON can hold that no record wants.
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    31,
    10**9,
    10**30,
    -(10**30),
    2.5,
    1e308,
    -0.0,
    "",
    "x",
    "../x",
    "a\0b",
    "\ud800",
    "x" * 5000,
    [],
    {},
    [[]],
    [None],
    ["x"] * 3,
    [1, 2],
    {"a": 1},
    [0] * 5000,
)
# What only text can say.
RAW = (
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "9" * 4000,
    "9" * 6000,
    "[" * 50_000,
    '{"a":' * 20_000,
    "1.0e",
    '{"a":1,"a":2}',
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_bundle(tmp_path_factory.mktemp("hostile") / "model", settings=ModelSettings())
    path = engine_path(folder, Target.ONNXRUNTIME, Precision.INT8)
    path.parent.mkdir()
    shutil.copy(folder / "portable.onnx", path)
    graph = open_bundle(folder).files["portable.onnx"].sha256
    table = CalibrationTable(
        method=Method.MINMAX,
        images=1,
        images_sha256="0" * 64,
        graph_sha256=graph,
        seed=0,
        ranges={"a": Range(low=-1.0, high=1.0)},
    )
    write_table(table, folder / CALIBRATION_FILE)
    record = EngineRecord(
        backend=Target.ONNXRUNTIME,
        backend_version="1",
        precision=Precision.INT8,
        options=EngineOptions(machine="x86_64", weight_bits=7),
        file=file_record(path),
        graph_sha256=graph,
        calibration_sha256=file_record(folder / CALIBRATION_FILE).sha256,
        build_s=1.0,
    )
    write_engine_record(path, record)
    return folder


@pytest.fixture
def model(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "model"))


def open_int8(model: Path) -> None:
    open_engine(open_bundle(model), Target.ONNXRUNTIME, Precision.INT8, DeviceInfo(machine="x86_64"))


def open_all(model: Path) -> None:
    read_table(model / CALIBRATION_FILE)
    open_int8(model)


def record_of(model: Path) -> Path:
    return engine_path(model, Target.ONNXRUNTIME, Precision.INT8).with_suffix(".json")


def test_the_template_is_whole(model: Path) -> None:
    open_int8(model)
    read_table(model / CALIBRATION_FILE)


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_in_the_manifest_stay_in_the_bundle(model: Path, name: str) -> None:
    outside = model.parent / "portable.onnx"
    shutil.copy(model / "portable.onnx", outside)

    def add(data: dict[str, Any]) -> None:
        data["files"][name] = data["files"]["portable.onnx"]

    alter(model / MANIFEST, add)

    assert not is_plain_name(name)
    with pytest.raises(ArtifactError, match=r"model\.json"):
        open_bundle(model)


@pytest.mark.parametrize("name", [*BAD_NAMES, "calibration.json", "none.onnx"], ids=ascii)
def test_an_engine_record_names_a_graph_of_the_bundle(model: Path, name: str) -> None:
    # "none" is what a graph's checksum was compared with where the bundle had no such graph.
    alter(record_of(model), lambda data: data.update(graph=name, file=None, graph_sha256="none"))

    with pytest.raises(ArtifactError, match=r"onnxruntime-int8\.json"):
        open_int8(model)


def test_a_record_of_another_engine_is_refused(model: Path) -> None:
    alter(record_of(model), lambda data: data.update(precision="fp32"))

    with pytest.raises(ArtifactError, match="record of another engine"):
        open_int8(model)


def test_an_engine_of_a_gpu_is_a_file(model: Path) -> None:
    place = engine_path(model, Target.TENSORRT, Precision.FP16).with_suffix(".json")
    shutil.copy(record_of(model), place)
    alter(place, lambda data: data.update(backend="tensorrt", precision="fp16", file=None))

    with pytest.raises(ArtifactError, match="is a file, and file is missing"):
        read_engine_record(model, Target.TENSORRT, Precision.FP16)


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (lambda model: model / MANIFEST, lambda data: data["spec"].update(score_threshold=0.06)),
        (lambda model: model / MANIFEST, lambda data: data["spec"]["class_names"].reverse()),
        (lambda model: model / MANIFEST, lambda data: data["spec"]["preprocess"].update(mean_rgb=[0, 0, 0])),
        (record_of, lambda data: data["options"].update(weight_bits=8)),
        (lambda model: model / CALIBRATION_FILE, lambda data: data["ranges"]["a"].update(high=2.0)),
    ],
    ids=["threshold", "names", "mean", "engine", "table"],
)
def test_records_are_covered_by_a_checksum(model: Path, place: Any, change: Any) -> None:
    alter(place(model), change, seal=False)

    with pytest.raises(ArtifactError, match=r"\.json was altered after it was written"):
        open_all(model)


def test_a_bundle_from_before_the_checksum_opens(model: Path) -> None:
    for path in (model / MANIFEST, record_of(model)):
        alter(path, lambda data: data.pop("sha256"), seal=False)

    open_int8(model)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "pipe": make_pipe,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "process": lambda path: path.symlink_to("/proc/self/environ"),
    "folder": lambda path: path.mkdir(),
    "circle": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("name", [MANIFEST, "portable.onnx", CALIBRATION_FILE, "record", "engine"])
def test_only_regular_files_are_read(model: Path, kind: str, name: str) -> None:
    path = {"record": record_of(model), "engine": record_of(model).with_suffix(".onnx")}.get(
        name, model / name
    )
    path.unlink()
    SPECIAL[kind](path)

    with pytest.raises(EdgeSegError, match=path.name):
        open_all(model)


def test_a_link_to_the_right_content_is_harmless(model: Path) -> None:
    # So package managers and download caches keep files.
    (model / "portable.onnx").rename(model.parent / "blob")
    (model / "portable.onnx").symlink_to(model.parent / "blob")

    open_bundle(model)


@pytest.mark.parametrize("name", [MANIFEST, "record", CALIBRATION_FILE])
def test_a_record_of_200_megabytes_is_not_read(model: Path, name: str) -> None:
    path = record_of(model) if name == "record" else model / name
    os.truncate(path, 200 << 20)

    with pytest.raises(ArtifactError, match=r"it has 209\.7 MB and may have 4\.2"):
        open_all(model)


def test_sizes_come_before_hashes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.truncate(model / "portable.onnx", 1 << 40)
    monkeypatch.setattr("edgeseg.bundle.manifest.sha256_from_file", lambda path: pytest.fail("it was read"))

    with pytest.raises(ArtifactError, match="truncated or altered"):
        open_bundle(model)


def leaves(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in items:
        yield from leaves(item, (*place, key))


def replaced(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    changed = copy.deepcopy(data)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def mutations(data: dict[str, Any], count: int) -> Iterator[str]:
    """Texts that differ from a record in one place each, by a seed."""
    draw = random.Random(SEED)
    places = list(leaves(data))
    for _ in range(count):
        place, kind = draw.choice(places), draw.randrange(4)
        if kind == 0 and place:
            text = json.dumps(replaced(data, place, "@raw@")).replace('"@raw@"', draw.choice(RAW))
            yield text
            continue
        changed = replaced(data, place, copy.deepcopy(draw.choice(ODD)))
        yield json.dumps(sealed(changed) if isinstance(changed, dict) else changed)


def only_sentences(action: Callable[[], object], name: str) -> int:
    said = ""
    try:
        action()
    except EdgeSegError as exc:
        said = str(exc)
    assert not said or name in said
    assert len(said) < 3000
    # It can be printed.
    said.encode()
    return bool(said)


def test_mutated_manifests_end_in_sentences(model: Path) -> None:
    path = model / MANIFEST
    data = json.loads(path.read_text())
    refused = 0
    for text in mutations(data, 300):
        path.write_text(text)
        refused += only_sentences(lambda: open_bundle(model), MANIFEST if "onnx" not in text else ".")

    assert refused > 150


def test_mutated_engine_records_end_in_sentences(model: Path) -> None:
    path = record_of(model)
    data = json.loads(path.read_text())
    bundle = open_bundle(model)
    refused = 0
    for text in mutations(data, 300):
        path.write_text(text)
        refused += only_sentences(
            lambda: open_engine(bundle, Target.ONNXRUNTIME, Precision.INT8, DeviceInfo(machine="x86_64")),
            "onnx",
        )

    assert refused > 150


def test_mutated_tables_end_in_sentences(model: Path) -> None:
    path = model / CALIBRATION_FILE
    data = json.loads(path.read_text())
    for text in mutations(data, 200):
        path.write_text(text)
        only_sentences(lambda: read_table(path), CALIBRATION_FILE)


def test_mutated_settings_end_in_sentences() -> None:
    data = json_from_record(ModelSettings())
    for text in mutations(data, 300):
        with suppress(ValueError):
            content = parse_json(text)
            if isinstance(content, dict):
                content.pop("sha256", None)
            only_sentences(partial(settings_from_json, content, source="s.json"), "s.json")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("input_size_hw", [10**9, 10**9], "input size must be at most"),
        ("input_size_hw", [31, 64], "multiples of 32"),
        ("input_size_hw", [0, 64], "multiples of 32"),
        ("max_detections", 10**9, "max_detections must be at most"),
        ("batch", 10**9, "batch must be at most"),
        ("class_names", ["x"] * 100_000, "class_names must be at most"),
        ("class_names", ["x", "y" * 100_000], "class_names must have at most 1000 characters"),
        ("class_names", ["x", "\ud800"], "lone surrogate"),
        ("score_threshold", float("1e300"), "score_threshold must be within 0 and 1"),
        ("score_threshold", 10**40, "score_threshold: float expected, got int a number of 133 bits"),
        ("preprocess", {"std_rgb": [0, 1, 1]}, "std_rgb must be positive"),
    ],
)
def test_absurd_values_are_named(model: Path, key: str, value: Any, sentence: str) -> None:
    alter(model / MANIFEST, lambda data: data["spec"].update({key: value}))

    with pytest.raises(ArtifactError, match=rf"model\.json.*{sentence}"):
        load(model)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("1e400", "finite|within"),
        ("NaN", "NaN is no number in JSON"),
        ("-Infinity", "-Infinity is no number in JSON"),
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ("9" * 5000, "not valid JSON|bits"),
        ('0.5, "score_threshold": 0.6', "stands twice"),
    ],
    ids=["1e400", "nan", "inf", "deep", "long", "twice"],
)
@pytest.mark.parametrize("key", ["score_threshold"])
def test_numbers_that_are_none(model: Path, key: str, raw: str, sentence: str) -> None:
    path = model / MANIFEST
    data = json.loads(path.read_text())
    data["spec"][key] = "@raw@"
    path.write_text(json.dumps(data).replace('"@raw@"', raw))

    with pytest.raises(ArtifactError, match=rf"model\.json.*({sentence})"):
        open_bundle(model)


def test_the_limit_of_records_is_far_above_real_ones(model: Path) -> None:
    assert record_of(model).stat().st_size * 100 < MAX_JSON_BYTES
