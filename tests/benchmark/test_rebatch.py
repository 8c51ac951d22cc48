"""Another batch than the bundle's: what is exported anew and built for it, and what the report says."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import pytest

from edgeseg.benchmark import benchmark as module
from edgeseg.benchmark import rebatch as batch_module
from edgeseg.benchmark.benchmark import benchmark
from edgeseg.benchmark.config import BenchmarkConfig
from edgeseg.benchmark.images import take_pictures
from edgeseg.benchmark.rebatch import build
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.rows import Common, make_lanes
from edgeseg.benchmark.worker.process import RowError
from edgeseg.benchmark.worker.rebatching import build_replica, write_replica
from edgeseg.builder import build as build_module
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import EngineOptions, Precision, Target
from edgeseg.bundle.manifest import TABLE_FILE, open_bundle
from edgeseg.calibration.table import write_table
from edgeseg.errors import ConfigError, EdgeSegError, ExportError, InputError
from edgeseg.exporter import variant
from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.variant import Drafts
from edgeseg.files.reading import sha256_of
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantization.plan import taps_of
from edgeseg.spec import Lowering
from tests.altered import sealed
from tests.quantization.ranges import minmax_table
from tests.runtime.fake_bundle import SHIFT_PX, make_bundle
from tests.runtime.test_engine_report import add_engine

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

pytest.importorskip("onnxruntime")
SIZE_HW = (128, 160)


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files, here and in what is called in this process."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def config(tmp_path, monkeypatch, temporary) -> BenchmarkConfig:
    """A bundle of a few operators on three images, each brighter than the last, at twice its batch."""
    monkeypatch.setattr(module.Run, "_measure_peaks", lambda run: None)
    (tmp_path / "fake.pth").write_bytes(b"weights")
    make_bundle(tmp_path / "model", checkpoint_sha256=sha256_of(tmp_path / "fake.pth"))
    (tmp_path / "photos").mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), np.full((64, 96, 3), 51 * number, np.uint8))
    return BenchmarkConfig(
        model=tmp_path / "model",
        images=tmp_path / "photos",
        rows=("onnxruntime-*",),
        threads=1,
        turns=1,
        batch=2,
    )


@pytest.fixture
def exported(monkeypatch) -> None:
    """Make the other bundle of a few operators too."""

    def at_batch(common: Common, batch: int) -> Common:
        return replace(common, bundle=open_bundle(make_bundle(common.folder / "model", batch=batch)))

    monkeypatch.setattr(module, "at_batch", at_batch)


@pytest.mark.usefixtures("exported")
def test_all_is_of_the_other_batch_but_the_name(config, monkeypatch):
    taken: list[Any] = []

    def watched(*args: Any) -> Any:
        taken.append(take_pictures(*args))
        return taken[0]

    monkeypatch.setattr(module, "take_pictures", watched)
    report = benchmark(replace(config, boxes=2))
    fp32, int8 = report.rows

    assert (report.settings.batch, report.settings.model) == (2, str(config.model))
    assert taken[0].batches.shape == (2, 2, 64, 96, 3)
    assert (fp32.state, fp32.found) == (RowState.OK, 2)
    assert fp32.latency is not None
    assert fp32.images_per_s == pytest.approx(2e3 / fp32.latency.mean_ms)
    # The command is for the user's bundle, and is told as it would be without another batch.
    assert int8.state is RowState.SKIPPED
    assert f"`edgeseg build-engine --int8 --target onnxruntime --model {config.model}`" in int8.reason
    assert "edgeseg-benchmark-" not in json.dumps([fp32.reason, fp32.notes, fp32.description, int8.reason])


@pytest.mark.usefixtures("exported")
def test_an_image_alone_in_its_batch_has_its_own_instances_once(config):
    found = benchmark(config).rows[0].detections

    for number in (1, 2, 3):
        own = [item for item in found if item["image_id"] == number]
        assert len(own) == 3
        assert own[0]["bbox"][0] == pytest.approx(4 + number * SHIFT_PX / 5, abs=0.01)


def test_without_its_checkpoint_a_bundle_has_one_batch(config, tmp_path):
    (tmp_path / "fake.pth").unlink()

    with pytest.raises(
        InputError, match=r"exported anew from fake\.pth.*`edgeseg export fake\.pth --batch 2`"
    ):
        benchmark(config)
    report = benchmark(replace(config, batch=1, rows=("onnxruntime-fp32",)))
    assert (report.settings.batch, report.rows[0].state) == (1, RowState.OK)


def test_a_checkpoint_that_cannot_be_exported(config, temporary):
    with pytest.raises(ExportError, match=r"model cannot be exported for a batch of 2: .*fake\.pth"):
        benchmark(config)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_has_an_image(batch):
    with pytest.raises(ConfigError, match=f"batch must be at least 1, got {batch}"):
        BenchmarkConfig(batch=batch)


def interrupt(*args: Any, **rest: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_while_exporting_leaves_nothing(config, monkeypatch, temporary):
    monkeypatch.setattr(batch_module.WorkerProcess, "ask", interrupt)

    with pytest.raises(KeyboardInterrupt):
        benchmark(config)
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("exported")
def test_ctrl_c_while_building_gives_a_report(config, monkeypatch, temporary):
    monkeypatch.setattr(batch_module, "_ask", interrupt)
    report = benchmark(config)

    assert report.interrupted
    assert [row.reason for row in report.rows] == ["interrupted before it was measured"] * 2
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def model(checkpoint, photographs, tmp_path_factory) -> Bundle:
    """A bundle of batch 1 with a table and an INT8 engine of ONNX Runtime."""
    folder = tmp_path_factory.mktemp("batch") / "model"
    own = Drafts(ExportConfig(checkpoint=checkpoint, max_detections=20)).write(folder, SIZE_HW, 100)
    graph = own.files[Lowering.PORTABLE.file_name]
    images = np.stack([cv2.resize(image, SIZE_HW[::-1]) for image in photographs])
    table = minmax_table(onnx.load(folder / Lowering.PORTABLE.file_name), images)
    write_table(replace(table, graph_sha256=graph.sha256), folder / TABLE_FILE)
    build_engine(BuildConfig(model=folder, target=Target.ONNXRUNTIME, precision=Precision.INT8))
    return own


def taps_in(bundle: Bundle) -> set[str]:
    return {tap.key for tap in taps_of(LayerGraph(onnx.load(bundle.graph_path(Lowering.PORTABLE)))).taps}


def test_a_run_at_twice_the_batch(model, checkpoint, monkeypatch):
    made: list[Any] = []

    def watched(common: Common, batch: int) -> Common:
        common = as_is(common, batch)
        made.extend((common.bundle.spec, taps_in(common.bundle)))
        return common

    as_is = module.at_batch
    monkeypatch.setattr(module, "at_batch", watched)
    monkeypatch.setattr(module.Run, "_measure_peaks", lambda run: None)
    lines: list[str] = []
    report = benchmark(
        BenchmarkConfig(
            model=model.path,
            checkpoint=checkpoint,
            rows=("pytorch-eager", "onnxruntime-*"),
            batch=2,
            turns=2,
            frames=3,
            threads=1,
        ),
        progress=lines.append,
    )
    eager, fp32, int8 = report.rows

    assert [row.reason for row in report.rows] == [""] * 3
    assert (report.settings.batch, report.settings.model) == (2, str(model.path))
    assert fp32.agreement is not None
    assert fp32.agreement.expected == fp32.agreement.matched > 0
    assert fp32.agreement.extra == 0
    assert fp32.found == eager.found
    for row in (fp32, int8):
        assert row.ratio is not None
        assert row.agreement is not None
    assert int8.file_mb < fp32.file_mb / 2
    assert "ONNX Runtime INT8: building its engine for a batch of 2" in lines
    # Ranges have the same names: nothing that is rounded at batch 1 is left out, nothing else is rounded.
    assert made == [replace(model.spec, batch=2, parity=None), taps_in(model)]
    assert len(made[1]) > 30
    # The user's own is as it was.
    assert open_bundle(model.path) == model


def test_a_full_disk(model, checkpoint, tmp_path, monkeypatch, temporary):
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(variant, "write_graph", full)
    with pytest.raises(EdgeSegError, match="No space left on device; make room"):
        write_replica(model.path, tmp_path / "run/model", 2, checkpoint, None)


@pytest.mark.parametrize("bits", [7, None])
def test_a_replica_has_weights_as_wide_as_the_users_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: None, bits: int | None
) -> None:
    user, copy = make_bundle(tmp_path / "user"), make_bundle(tmp_path / "copy")
    (copy / TABLE_FILE).write_text("there")
    options = {"amx": True, "weight_bits": bits}
    add_engine(user, Target.ONNXRUNTIME, Precision.INT8, machine="aarch64", options=options)
    built: list[BuildConfig] = []
    monkeypatch.setattr(build_module, "build_engine", built.append)

    build_replica(user, SimpleNamespace(model=copy, engine="onnxruntime", precision="int8"))

    assert [config.options for config in built] == [EngineOptions(weight_bits=bits)]


def lane_of(model: Path, run: Path, checkpoint: Path, row: str = "onnxruntime-int8") -> tuple[Any, Common]:
    """A row where the exported bundle is one like the user's."""
    shutil.copytree(model, run / "model", ignore=shutil.ignore_patterns("engines", TABLE_FILE))
    common = Common(
        bundle=open_bundle(run / "model"),
        model=model,
        folder=run,
        checkpoint=checkpoint,
        factory=None,
        threads=1,
        cores=(),
    )
    return make_lanes(common, (row,))[0], common


@pytest.mark.parametrize("there", [True, False])
def test_in_full_precision_it_is_built_where_the_user_has_built_it(
    model, checkpoint, tmp_path, monkeypatch, there
):
    own, asked = tmp_path / "own", []
    shutil.copytree(model.path, own)
    if there:
        build_engine(BuildConfig(model=own, target=Target.ONNXRUNTIME, precision=Precision.FP32))
    lane, common = lane_of(own, tmp_path / "run", checkpoint, "onnxruntime-fp32")
    monkeypatch.setattr(batch_module, "_ask", lambda do, **facts: asked.append(do))

    build(lane, common, lambda line: None)

    assert asked == ["build"] * there


def test_a_table_that_lacks_a_range_is_not_passed_over(model, checkpoint, tmp_path):
    shutil.copytree(model.path, tmp_path / "own")
    table = json.loads((tmp_path / "own" / TABLE_FILE).read_text())
    absent = sorted(table["ranges"])[0]
    del table["ranges"][absent]
    (tmp_path / "own" / TABLE_FILE).write_text(json.dumps(sealed(table)))
    lane, common = lane_of(tmp_path / "own", tmp_path / "run", checkpoint)

    with pytest.raises(RowError, match=rf"could not be built for a batch of 1: .* no range for {absent}"):
        build(lane, common, lambda line: None)


def test_a_table_of_another_graph_is_not_made_this_ones(model, checkpoint, tmp_path):
    shutil.copytree(model.path, tmp_path / "own")
    table = json.loads((tmp_path / "own" / TABLE_FILE).read_text())
    altered = sealed({**table, "graph_sha256": "0" * 64})
    (tmp_path / "own" / TABLE_FILE).write_text(json.dumps(altered))
    lane, common = lane_of(tmp_path / "own", tmp_path / "run", checkpoint)

    with pytest.raises(RowError, match="was measured on another graph"):
        build(lane, common, lambda line: None)
