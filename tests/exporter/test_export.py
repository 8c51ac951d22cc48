"""Exporting a checkpoint: what the bundle holds, and that nothing half-made is left behind."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

import edgeseg
from edgeseg.bundle.manifest import MANIFEST, Bundle, open_bundle
from edgeseg.errors import ConfigError, InputError
from edgeseg.exporter.config import DetectionLimits, ExportConfig, apply_limits
from edgeseg.exporter.export import export
from edgeseg.exporter.graph import FORBIDDEN_IN_TENSORRT, write_graph
from edgeseg.exporter.model.reference import Reference
from edgeseg.exporter.parity.check import ExportedGraph
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances
from edgeseg.spec import Lowering, ModelSpec
from tests.builder.rtx import build_rtx, needs_rtx
from tests.models import build, detecting, spec_of

from .short import without_half

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torchvision.models.detection import MaskRCNN

    from edgeseg import Model
    from edgeseg.bundle.manifest import Bundle

SIZE_HW = (256, 320)


@pytest.fixture
def failing_graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Replace the ten seconds of export; a test says what happens instead."""

    def install(action: Callable[..., None]) -> None:
        monkeypatch.setattr("edgeseg.exporter.export.write_graph", action)

    return install


def config(checkpoint: Path, output: Path, **changes: Any) -> ExportConfig:
    return ExportConfig(checkpoint=checkpoint, output=output, sizes_hw=(SIZE_HW,), **changes)


def graph_of(bundle: Bundle, lowering: Lowering) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(lowering))


def shapes(values: Any) -> dict[str, list[int | str]]:
    return {v.name: [d.dim_value or d.dim_param for d in v.type.tensor_type.shape.dim] for v in values}


def test_bundle_says_what_it_is(bundle: Bundle, checkpoint: Path) -> None:
    spec = open_bundle(bundle.path).spec
    assert spec == bundle.spec
    assert spec.class_names == ("__background__", "bolt", "nut", "gear", "cam")
    assert spec.architecture == "maskrcnn_resnet18_fpn"
    assert (spec.input_size_hw, spec.batch, spec.checkpoint) == (SIZE_HW, 1, "parts.pth")
    assert spec.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert spec.parity is not None
    assert spec.parity.passed
    assert [row.lowering for row in spec.parity.rows] == [Lowering.PORTABLE, Lowering.TENSORRT]
    names = [MANIFEST, "portable.onnx", "tensorrt-fp16.onnx", "tensorrt.onnx"]
    assert sorted(path.name for path in bundle.path.iterdir()) == names


def test_graphs_have_the_promised_inputs_and_outputs(bundle: Bundle) -> None:
    outputs = {
        "num_detections": [1],
        "boxes": [1, 100, 4],
        "scores": [1, 100],
        "labels": [1, 100],
        "masks": [1, 100, 28, 28],
    }
    portable, tensorrt, half = (graph_of(bundle, lowering).graph for lowering in Lowering)
    assert shapes(portable.input) == {"images": [1, *SIZE_HW, 3], "score_threshold": []}
    assert shapes(tensorrt.input) == {"images": [1, *SIZE_HW, 3]}
    assert shapes(portable.output) == outputs
    assert shapes(tensorrt.output) == {**outputs, "nms_converged": [1]}
    assert portable.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert (half.input, half.output) == (tensorrt.input, tensorrt.output)


@pytest.mark.parametrize("lowering", [Lowering.TENSORRT, Lowering.TENSORRT_FP16])
def test_tensorrt_graph_is_static_and_plugin_free(bundle: Bundle, lowering: Lowering) -> None:
    model = graph_of(bundle, lowering)
    assert not {node.op_type for node in model.graph.node} & set(FORBIDDEN_IN_TENSORRT)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    assert not any(d.dim_param for v in inferred.value_info for d in v.type.tensor_type.shape.dim)
    assert {"architecture", "checkpoint_sha256", "lowering"} <= {p.key for p in model.metadata_props}
    # TensorRT: a uint8 input must be cast before anything else touches it.
    assert [node.op_type for node in model.graph.node if "images" in node.input] == ["Cast"]


def test_half_precision_is_where_it_belongs(bundle: Bundle) -> None:
    """Products in half, but what ranks, decodes or samples in single precision."""
    model = onnx.shape_inference.infer_shapes(graph_of(bundle, Lowering.TENSORRT_FP16), strict_mode=True)
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = {"Conv", "Gemm", "MatMul"}
    single = {"Softmax", "Sigmoid", "TopK", "Exp", "GridSample", "AveragePool", "Min", "Div", "Log"}
    for node in model.graph.node:
        found = {types[value] for value in node.input if value} - {onnx.TensorProto.INT64}
        if node.op_type in half:
            assert found == {onnx.TensorProto.FLOAT16}, node.name
        elif node.op_type in single:
            assert found <= {onnx.TensorProto.FLOAT}, node.name
    assert half | single <= {node.op_type for node in model.graph.node}


def test_half_precision_halves_the_file(bundle: Bundle) -> None:
    single, half = (bundle.files[name].size for name in ("tensorrt.onnx", "tensorrt-fp16.onnx"))
    assert half < 0.52 * single


@needs_rtx
def test_tensorrt_for_rtx_builds_the_one_graph_and_refuses_the_other(bundle: Bundle) -> None:
    engine = build_rtx(bundle.graph_path(Lowering.TENSORRT), "SM86", "SM120")
    assert len(engine.data) > 10_000_000
    # Turing takes no matrix product in single precision, and there is none in this one.
    turing = ("SM75", "SM86", "SM89", "SM120")
    build_rtx(bundle.graph_path(Lowering.TENSORRT_FP16), *turing)
    with pytest.raises(edgeseg.EdgeSegError, match=r"NonZero|NonMaxSuppression|RoiAlign"):
        build_rtx(bundle.graph_path(Lowering.PORTABLE))


@pytest.fixture(scope="module")
def loaded(bundle: Bundle) -> Iterator[Model]:
    with edgeseg.load(bundle.path) as model:
        yield model


@pytest.fixture(scope="module")
def scores(_resnet18: MaskRCNN, bundle: Bundle, photographs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What PyTorch finds on the first photograph, the best first."""
    return Reference(_resnet18, bundle.spec)(photographs[:1])[0].scores


def test_runtime_finds_what_the_graph_finds(bundle: Bundle, loaded: Model, photographs: np.ndarray) -> None:
    model = loaded
    raw = ExportedGraph(bundle.graph_path(Lowering.PORTABLE), bundle.spec)(photographs[:1])[0][0]
    detections = model(photographs[0], score_threshold=0.05)
    assert len(detections) == len(raw.scores) > 5
    np.testing.assert_allclose(detections.boxes_xyxy, raw.boxes_xyxy, atol=1e-3)
    assert (detections.labels == raw.labels).all()
    assert len(model(photographs[0], score_threshold=1.0)) == 0
    wide = model(photographs[0][:33, :317], score_threshold=0.0)
    assert len(wide) == 100
    assert (wide.boxes_xyxy <= np.array([317, 33, 317, 33])).all()


@pytest.mark.parametrize("wanted", [0, 1, 100])
def test_number_of_detections(
    loaded: Model, scores: NDArray[np.float32], photographs: np.ndarray, wanted: int
) -> None:
    thresholds = {0: (scores[0] + 1) / 2, 1: (scores[0] + scores[1]) / 2, 100: 0.0}
    assert len(loaded(photographs[0], score_threshold=float(thresholds[wanted]))) == wanted


def test_version_2_with_its_batch_norms_in_the_heads(photographs: np.ndarray, tmp_path: Path) -> None:
    model = detecting(build("maskrcnn_resnet50_fpn_v2", 5), photographs[:2])
    spec = spec_of(model, SIZE_HW, max_proposals=100)
    apply_limits(DetectionLimits(**{name: getattr(spec, name) for name in DetectionLimits.__slots__}), model)
    write_graph(model, spec, Lowering.PORTABLE, tmp_path / "portable.onnx")
    verdict = ParityComparison(
        lowering=Lowering.PORTABLE,
        tolerances=Tolerances(),
        max_detections=spec.max_detections,
        score_threshold=spec.score_threshold,
        size_hw=SIZE_HW,
    )
    graph = ExportedGraph(tmp_path / "portable.onnx", spec)
    verdict.add(Reference(model, spec)(photographs[:1])[0], graph(photographs[:1])[0][0])
    assert verdict.passed(), verdict.row()
    assert verdict.matched > 2


def test_batch_of_four_with_a_blank_image(photographs: np.ndarray, tmp_path: Path) -> None:
    model = detecting(build("mobilenet_v2", 5), photographs)
    spec = spec_of(model, SIZE_HW, batch=4)
    images = photographs.copy()
    images[2] = 0
    reference = Reference(model, spec)(images)
    for lowering in (Lowering.PORTABLE, Lowering.TENSORRT):
        write_graph(model, spec, lowering, tmp_path / lowering.file_name)
        verdict = ParityComparison(
            lowering=lowering,
            tolerances=Tolerances(),
            max_detections=spec.max_detections,
            score_threshold=spec.score_threshold,
            size_hw=SIZE_HW,
        )
        found, settled = ExportedGraph(tmp_path / lowering.file_name, spec)(images)
        assert settled.all()
        for expected, got in zip(reference, found, strict=True):
            verdict.add(expected, got)
        assert verdict.passed(), verdict.row()
        assert verdict.matched > 20


def test_settings_reach_the_bundle(
    checkpoint: Path, tmp_path: Path, failing_graphs: Callable[[Callable[..., None]], None]
) -> None:
    names = tmp_path / "names.json"
    names.write_text('{"1": "a", "2": "b", "3": "c", "4": "d"}')
    changes = {
        "classes": names,
        "max_detections": 7,
        "max_proposals": 50,
        "score_threshold": 0.2,
        "nms_threshold": 0.4,
    }

    def write(model: MaskRCNN, spec: ModelSpec, lowering: Lowering, path: Path) -> None:
        heads, proposals = model.roi_heads, model.rpn
        written[lowering] = (heads.detections_per_img, proposals.post_nms_top_n(), heads.score_thresh)
        path.write_bytes(b"graph")

    written: dict[Lowering, tuple[int, int, float]] = {}
    failing_graphs(write)
    spec = export(config(checkpoint, tmp_path / "model", parity=False, **changes)).spec
    assert written == dict.fromkeys(Lowering, (7, 50, 0.2))
    assert spec.class_names[1:] == ("a", "b", "c", "d")
    assert (spec.max_detections, spec.max_proposals) == (7, 50)
    assert (spec.score_threshold, spec.nms_threshold, spec.parity) == (0.2, 0.4, None)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt(), MemoryError()]
)
def test_an_export_that_breaks_leaves_nothing_new(
    checkpoint: Path,
    tmp_path: Path,
    failing_graphs: Callable[[Callable[..., None]], None],
    error: OSError | KeyboardInterrupt | MemoryError,
) -> None:
    def write_some(model: Any, spec: ModelSpec, lowering: Lowering, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    failing_graphs(write_some)
    with pytest.raises(type(error)):
        export(config(checkpoint, tmp_path / "model"))
    assert list(tmp_path.iterdir()) == []


def test_force_keeps_the_old_bundle_until_the_new_one_is_whole(
    bundle: Bundle, checkpoint: Path, tmp_path: Path, failing_graphs: Callable[[Callable[..., None]], None]
) -> None:
    target = tmp_path / "model"
    shutil.copytree(bundle.path, target)
    with pytest.raises(ConfigError, match="already holds a bundle; pass --force"):
        export(config(checkpoint, target))

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    failing_graphs(interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(config(checkpoint, target, force=True))
    assert open_bundle(target).spec == bundle.spec
    failing_graphs(lambda model, spec, lowering, path: path.write_bytes(b"new"))
    assert export(config(checkpoint, target, force=True, parity=False)).spec.parity is None
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_not_a_bundle_is_never_replaced(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="exists and is not a bundle"):
        export(config(checkpoint, tmp_path, force=True))
    with pytest.raises(ConfigError, match="exists and is not a bundle"):
        export(config(checkpoint, tmp_path / "thesis.txt", force=True))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes_hw": ((250, 320),)}, "multiples of 32, got 250 320; the nearest that fits is 256 320"),
        ({"sizes_hw": ((0, 320),)}, "multiples of 32, got 0 320"),
        ({"max_proposals": 5000}, "proposals must be 1 to 1000.*got 5000"),
        ({"factory": "nonsense"}, "must be package.module:function, got 'nonsense'"),
        ({"factory": "edgeseg.absent:build"}, "failed: ModuleNotFoundError"),
        ({"factory": "builtins:dict"}, "must return a torchvision MaskRCNN, it returned dict"),
    ],
)
def test_settings_that_cannot_work(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(ExportConfig(checkpoint=checkpoint, output=tmp_path / "model", **changes))
    assert list(tmp_path.iterdir()) == []


def test_wrong_number_of_class_names(checkpoint: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    with pytest.raises(InputError, match=r"has 4 classes and the background, .*names\.txt has 3 names"):
        export(config(checkpoint, tmp_path / "model", classes=names))


def custom() -> MaskRCNN:
    """A model whose anchors no tensor shape can tell: what `--factory` is for."""
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    anchors = AnchorGenerator(((16,), (24,), (48,), (96,), (192,)), ((0.5, 1.0),) * 5)
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    return detection.MaskRCNN(
        backbone,
        4,
        rpn_anchor_generator=anchors,
        box_detections_per_img=30,
        rpn_post_nms_top_n_test=200,
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.25, 0.25, 0.25),
    )


def test_factory_brings_custom_anchors_counts_and_normalisation(
    photographs: np.ndarray, tmp_path: Path
) -> None:
    model = detecting(custom(), photographs)
    torch.save(model.state_dict(), tmp_path / "custom.pth")
    factory = f"{__name__}:custom"
    with without_half():
        spec = export(config(tmp_path / "custom.pth", tmp_path / "model", factory=factory)).spec
    assert spec.parity is not None
    assert spec.parity.rows[0].reference_detections > 5
    assert (spec.max_detections, spec.max_proposals) == (30, 200)
    assert spec.preprocess.mean_rgb == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="2 anchors a location"):
        export(config(tmp_path / "custom.pth", tmp_path / "other"))
