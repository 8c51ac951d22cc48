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
from edgeseg.benchmark.images import load_images
from edgeseg.benchmark.rebatch import build_row_engine, rebatch
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.rows import RunContext, make_row_runs
from edgeseg.benchmark.worker.process import RowError, WorkerProcess
from edgeseg.benchmark.worker.rebatching import build_rebatched_engine, rebatch_bundle
from edgeseg.builder import build as build_module
from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import EngineOptions, Precision, Target
from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.table import write_table
from edgeseg.errors import ConfigError, EdgeSegError, ExportError, InputError
from edgeseg.exporter import variant
from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.variant import VariantWriter
from edgeseg.files.reading import sha256_from_file
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantisation.plan import range_observers
from edgeseg.runtime.choice import EngineChoice
from edgeseg.spec import Lowering
from tests.altered import sealed
from tests.quantisation.ranges import minmax_table
from tests.runtime.fake_bundle import SHIFT_PX, make_bundle
from tests.runtime.test_engine_report import add_engine

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

pytest.importorskip("onnxruntime")
SIZE_HW = (128, 160)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, here and in what is called in this process."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> BenchmarkConfig:
    """A bundle of a few operators on three images, each brighter than the last, at twice its batch."""
    monkeypatch.setattr(module.BenchmarkRun, "_measure_roofline", lambda run: None)
    (tmp_path / "fake.pth").write_bytes(b"weights")
    make_bundle(tmp_path / "model", checkpoint_sha256=sha256_from_file(tmp_path / "fake.pth"))
    (tmp_path / "photos").mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), np.full((64, 96, 3), 51 * number, np.uint8))
    return BenchmarkConfig(
        model=tmp_path / "model",
        images=tmp_path / "photos",
        rows=("onnxruntime-*",),
        engine=EngineChoice(threads=1),
        turns=1,
        margin_percent=0,
        batch=2,
    )


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the other bundle of a few operators too."""

    def rebatch(context: RunContext, batch: int) -> RunContext:
        return replace(context, bundle=open_bundle(make_bundle(context.folder / "model", batch=batch)))

    monkeypatch.setattr(module, "rebatch", rebatch)


@pytest.mark.usefixtures("exported")
def test_all_is_of_the_other_batch_but_the_name(
    config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []

    def watched(*args: Any) -> Any:
        taken.append(load_images(*args))
        return taken[0]

    monkeypatch.setattr(module, "load_images", watched)
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
def test_an_image_alone_in_its_batch_has_its_own_instances_once(config: BenchmarkConfig) -> None:
    found = benchmark(config).rows[0].detections

    for number in (1, 2, 3):
        own = [item for item in found if item["image_id"] == number]
        assert len(own) == 3
        assert own[0]["bbox"][0] == pytest.approx(4 + number * SHIFT_PX / 5, abs=0.01)


def test_without_its_checkpoint_a_bundle_has_one_batch(config: BenchmarkConfig, tmp_path: Path) -> None:
    (tmp_path / "fake.pth").unlink()

    with pytest.raises(
        InputError, match=r"exported anew from fake\.pth.*`edgeseg export fake\.pth --batch 2`"
    ):
        benchmark(config)
    report = benchmark(replace(config, batch=1, rows=("onnxruntime-fp32",)))
    assert (report.settings.batch, report.rows[0].state) == (1, RowState.OK)


def test_a_checkpoint_that_cannot_be_exported(config: BenchmarkConfig, temporary: Path) -> None:
    with pytest.raises(ExportError, match=r"model cannot be exported for a batch of 2: .*fake\.pth"):
        benchmark(config)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_has_an_image(batch: int) -> None:
    with pytest.raises(ConfigError, match=f"batch must be at least 1, got {batch}"):
        BenchmarkConfig(batch=batch)


def interrupt(*args: Any, **rest: Any) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_while_exporting_leaves_nothing(
    config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    monkeypatch.setattr(WorkerProcess, "ask", interrupt)

    with pytest.raises(KeyboardInterrupt):
        benchmark(config)
    assert list(temporary.iterdir()) == []


@pytest.mark.usefixtures("exported")
def test_ctrl_c_while_building_gives_a_report(
    config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    monkeypatch.setattr(batch_module, "_ask_worker", interrupt)
    report = benchmark(config)

    assert report.interrupted
    assert [row.reason for row in report.rows] == ["interrupted before it was measured"] * 2
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def model(checkpoint: Path, photographs: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of batch 1 with a table and an INT8 engine of ONNX Runtime."""
    folder = tmp_path_factory.mktemp("batch") / "model"
    own = VariantWriter(ExportConfig(checkpoint=checkpoint, max_detections=20)).write(folder, SIZE_HW, 100)
    graph = own.files[Lowering.PORTABLE.file_name]
    images = np.stack([cv2.resize(image, SIZE_HW[::-1]) for image in photographs])
    table = minmax_table(onnx.load(folder / Lowering.PORTABLE.file_name), images)
    write_table(replace(table, graph_sha256=graph.sha256), folder / CALIBRATION_FILE)
    build_engine(BuildConfig(model=folder, target=Target.ONNXRUNTIME, precision=Precision.INT8))
    return own


def observers_in(bundle: Bundle) -> set[str]:
    return {
        observer.key
        for observer in range_observers(LayerGraph(onnx.load(bundle.graph_path(Lowering.PORTABLE)))).observers
    }


def test_a_run_at_twice_the_batch(model: Bundle, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def watched(context: RunContext, batch: int) -> RunContext:
        context = as_is(context, batch)
        made.extend((context.bundle.spec, observers_in(context.bundle)))
        return context

    as_is = rebatch
    monkeypatch.setattr(module, "rebatch", watched)
    monkeypatch.setattr(module.BenchmarkRun, "_measure_roofline", lambda run: None)
    lines: list[str] = []
    report = benchmark(
        BenchmarkConfig(
            model=model.path,
            checkpoint=checkpoint,
            rows=("pytorch-eager", "onnxruntime-*"),
            batch=2,
            turns=2,
            margin_percent=0,
            frames=3,
            engine=EngineChoice(threads=1),
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
    assert int8.file_mb is not None
    assert fp32.file_mb is not None
    assert int8.file_mb < fp32.file_mb / 2
    assert "ONNX Runtime INT8: building its engine for a batch of 2" in lines
    # Ranges have the same names: nothing that is rounded at batch 1 is left out, nothing else is rounded.
    assert made == [replace(model.spec, batch=2, parity=None), observers_in(model)]
    assert len(made[1]) > 30
    # The user's own is as it was.
    assert open_bundle(model.path) == model


def test_a_full_disk(
    model: Bundle, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(variant, "write_graph", full)
    with pytest.raises(EdgeSegError, match="No space left on device; make room"):
        rebatch_bundle(model.path, tmp_path / "run/model", 2, checkpoint, None)


@pytest.mark.parametrize("bits", [7, None])
def test_a_replica_has_weights_as_wide_as_the_users_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, bits: int | None
) -> None:
    user, copy = make_bundle(tmp_path / "user"), make_bundle(tmp_path / "copy")
    (copy / CALIBRATION_FILE).write_text("there")
    options = {"amx": True, "weight_bits": bits}
    add_engine(user, Target.ONNXRUNTIME, Precision.INT8, machine="aarch64", options=options)
    built: list[BuildConfig] = []
    monkeypatch.setattr(build_module, "build_engine", built.append)
    runner_spec: Any = SimpleNamespace(model=copy, engine="onnxruntime", precision="int8")

    build_rebatched_engine(user, runner_spec)

    assert [config.options for config in built] == [EngineOptions(weight_bits=bits)]


def row_run_of(
    model: Path, run: Path, checkpoint: Path, row: str = "onnxruntime-int8"
) -> tuple[Any, RunContext]:
    """A row where the exported bundle is one like the user's."""
    shutil.copytree(model, run / "model", ignore=shutil.ignore_patterns("engines", CALIBRATION_FILE))
    context = RunContext(
        bundle=open_bundle(run / "model"),
        model=model,
        folder=run,
        checkpoint=checkpoint,
        factory=None,
        threads=1,
        cores=(),
    )
    return make_row_runs(context, (row,))[0], context


@pytest.mark.parametrize("there", [True, False])
def test_in_full_precision_it_is_built_where_the_user_has_built_it(
    model: Bundle, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    own, asked = tmp_path / "own", []
    shutil.copytree(model.path, own)
    if there:
        build_engine(BuildConfig(model=own, target=Target.ONNXRUNTIME, precision=Precision.FP32))
    row_run, context = row_run_of(own, tmp_path / "run", checkpoint, "onnxruntime-fp32")
    monkeypatch.setattr(
        batch_module, "_ask_worker", lambda request, *rest: asked.append(type(request).__name__)
    )

    build_row_engine(row_run, context, lambda line: None)

    assert asked == ["BuildRebatchedEngine"] * there


def test_a_table_that_lacks_a_range_is_not_passed_over(
    model: Bundle, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "own")
    table = json.loads((tmp_path / "own" / CALIBRATION_FILE).read_text())
    absent = sorted(table["ranges"])[0]
    del table["ranges"][absent]
    (tmp_path / "own" / CALIBRATION_FILE).write_text(json.dumps(sealed(table)))
    row_run, context = row_run_of(tmp_path / "own", tmp_path / "run", checkpoint)

    with pytest.raises(RowError, match=rf"could not be built for a batch of 1: .* no range for {absent}"):
        build_row_engine(row_run, context, lambda line: None)


def test_a_table_of_another_graph_is_not_made_this_ones(
    model: Bundle, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "own")
    table = json.loads((tmp_path / "own" / CALIBRATION_FILE).read_text())
    altered = sealed({**table, "graph_sha256": "0" * 64})
    (tmp_path / "own" / CALIBRATION_FILE).write_text(json.dumps(altered))
    row_run, context = row_run_of(tmp_path / "own", tmp_path / "run", checkpoint)

    with pytest.raises(RowError, match="was measured on another graph"):
        build_row_engine(row_run, context, lambda line: None)
