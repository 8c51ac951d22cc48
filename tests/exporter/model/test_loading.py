"""Models from checkpoints with settings of their own: whole, saved by `save_checkpoint`, or told."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

import edgeseg
from edgeseg.errors import ConfigError, EdgeSegError, InputError
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.exporter.config import ExportConfig
from edgeseg.exporter.export import describe_export, load_configured_model
from edgeseg.exporter.model.eager import torchvision_from_checkpoint
from edgeseg.exporter.model.loading import load_model, settings_from_file
from edgeseg.exporter.model.modules import describe_modules, differences
from edgeseg.exporter.model.reference import Reference, gray_from_rgb, tensors_from_frames
from edgeseg.exporter.network.mask_rcnn import ExportedNetwork
from edgeseg.exporter.network.portable import PortableOperators
from edgeseg.settings import ModelSettings, Origin, resolve_settings
from edgeseg.spec import ModelSpec, Preprocess
from tests.exporter.network.test_mask_rcnn import compare
from tests.models import build, detecting
from tests.models import spec_of as exported_spec

if TYPE_CHECKING:
    from pathlib import Path

SIZE_HW = (128, 160)
CLASSES = 4
OWN = ModelSettings(
    min_size=320,
    max_size=480,
    image_mean=(0.4, 0.5, 0.6),
    image_std=(0.2, 0.25, 0.3),
    anchor_sizes=((8.0,), (16.0,), (32.0,), (64.0,), (128.0,)),
    anchor_aspect_ratios=((0.4, 1.0, 2.5),) * 5,
    box_sampling_ratio=0,
    mask_sampling_ratio=1,
    mask_pool_size=10,
    batch_norm_eps={"": 0.0},
    bbox_reg_weights=(8.0, 8.0, 4.0, 4.0),
    rpn_pre_nms_top_n_test=300,
    rpn_post_nms_top_n_test=150,
    rpn_nms_thresh=0.6,
    rpn_score_thresh=0.01,
    box_score_thresh=0.1,
    box_nms_thresh=0.4,
    box_detections_per_img=40,
)


def customised(name: str = "resnet18") -> MaskRCNN:
    """A model of which every setting is another than torchvision's."""
    model = build(name, CLASSES)
    model.transform.min_size, model.transform.max_size = (240, OWN.min_size), OWN.max_size
    model.transform.image_mean, model.transform.image_std = list(OWN.image_mean), np.array(OWN.image_std)
    model.rpn.anchor_generator = AnchorGenerator(OWN.anchor_sizes, OWN.anchor_aspect_ratios)
    model.rpn._pre_nms_top_n["testing"], model.rpn._post_nms_top_n["testing"] = 300, 150
    model.rpn.nms_thresh, model.rpn.score_thresh = 0.6, 0.01
    heads = model.roi_heads
    # Narrow, as nothing is found with it.
    heads.box_head, heads.box_predictor = TwoMLPHead(256 * 7 * 7, 16), FastRCNNPredictor(16, CLASSES)
    heads.box_roi_pool.sampling_ratio = 0
    heads.mask_roi_pool = MultiScaleRoIAlign(["0", "1", "2", "3"], 10, 1)
    heads.box_coder.weights = OWN.bbox_reg_weights
    heads.score_thresh, heads.nms_thresh, heads.detections_per_img = 0.1, 0.4, 40
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.eps = 0.0
    return model.eval()


@pytest.fixture(scope="module")
def _custom() -> MaskRCNN:
    return customised()


@pytest.fixture
def custom(_custom: MaskRCNN) -> MaskRCNN:
    return copy.deepcopy(_custom)


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), np.uint8)


def outputs(model: Any, preprocess: Preprocess) -> list[torch.Tensor]:
    """What the second stage is given and gives, for an image at the input's size."""
    images = (tensors_from_frames(image(), preprocess) - 0.5) / 0.25
    with torch.inference_mode():
        features = model.backbone(images)
        crops = model.roi_heads.mask_roi_pool(features, [torch.tensor([[4.0, 5.0, 90.0, 80.0]])], [SIZE_HW])
        return [
            features["0"],
            crops,
            model.roi_heads.box_head(
                model.roi_heads.box_roi_pool(features, [torch.tensor([[4.0, 5.0, 90.0, 80.0]])], [SIZE_HW])
            ),
        ]


class Compiled(nn.Module):
    """Has the form of what `torch.compile` gives."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model


WAYS = {
    "whole": lambda model, folder: torch.save(model, folder / "whole.pth"),
    "whole in a dict, as before PyTorch 1.6": lambda model, folder: torch.save(
        {"epoch": 1, "model": model}, folder / "dict.pth", _use_new_zipfile_serialization=False
    ),
    "whole in DataParallel": lambda model, folder: torch.save(nn.DataParallel(model), folder / "dp.pth"),
    "save_checkpoint": lambda model, folder: edgeseg.save_checkpoint(model, folder / "saved.pth"),
    "save_checkpoint, wrapped, safetensors": lambda model, folder: edgeseg.save_checkpoint(
        nn.DataParallel(Compiled(model)), str(folder / "saved.safetensors")
    ),
}


@pytest.mark.parametrize("write", WAYS.values(), ids=WAYS.keys())
def test_every_setting_comes_back(custom: MaskRCNN, tmp_path: Path, write: Any) -> None:
    write(custom, tmp_path)
    (path,) = tmp_path.iterdir()
    loaded = load_model(read_checkpoint(path))

    assert loaded.settings == OWN
    assert set(loaded.origins.values()) - {Origin.CHECKPOINT} <= {Origin.ASSUMED}
    assert [name for name, origin in loaded.origins.items() if origin is Origin.ASSUMED] in (
        ["input_size_hw"],
        [],
    )
    assert loaded.settings.training_size_hw == (320, 480)
    assert differences(describe_modules(custom), describe_modules(loaded.model)) == []
    weights = loaded.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in custom.state_dict().items())
    for one, other in zip(
        loaded.model.rpn.anchor_generator.cell_anchors, custom.rpn.anchor_generator.cell_anchors, strict=True
    ):
        assert torch.equal(one, other)


def test_a_bundle_says_the_settings_and_pytorch_is_rebuilt_with_them(
    custom: MaskRCNN, tmp_path: Path
) -> None:
    """What is given by --settings at export holds for `evaluate --checkpoint` and `benchmark` too."""
    path, told = tmp_path / "bare.pth", tmp_path / "settings.json"
    torch.save(custom.state_dict(), path)
    told.write_text(
        json.dumps({"anchor_sizes": [8, 16, 32, 64, 128], "mask_pool_size": 10, "image_mean": [0.4] * 3})
    )
    config = ExportConfig(checkpoint=path, settings=told, sizes_hw=(SIZE_HW,), score_threshold=0.2)
    checkpoint = read_checkpoint(path)
    spec = describe_export(load_configured_model(checkpoint, config), checkpoint, config)

    assert (spec.input_size_hw, spec.mask_size, spec.preprocess.mean_rgb) == (SIZE_HW, 20, (0.4, 0.4, 0.4))
    assert spec.origins["min_size"] is Origin.ASSUMED
    said = {name for name, origin in spec.origins.items() if origin is Origin.OPTION}
    assert said == {"anchor_sizes", "mask_pool_size", "image_mean", "input_size_hw", "box_score_thresh"}
    assert {origin for name, origin in spec.origins.items() if name not in said} == {Origin.ASSUMED}
    rebuilt = torchvision_from_checkpoint(path, spec)
    assert rebuilt.rpn.anchor_generator.sizes == ((8.0,), (16.0,), (32.0,), (64.0,), (128.0,))
    assert rebuilt.roi_heads.mask_roi_pool.output_size == (10, 10)
    assert rebuilt.transform.image_mean == [0.4, 0.4, 0.4]


def test_the_size_of_training_is_the_input_size(custom: MaskRCNN, tmp_path: Path) -> None:
    edgeseg.save_checkpoint(custom, tmp_path / "saved.pth", class_names=["bolt", "nut", "gear"])
    checkpoint = read_checkpoint(tmp_path / "saved.pth")
    config = ExportConfig(checkpoint=checkpoint.path)
    spec = describe_export(load_configured_model(checkpoint, config), checkpoint, config)

    assert spec.settings is not None
    assert (spec.input_size_hw, spec.settings.min_size, spec.settings.max_size) == ((320, 480), 320, 480)
    assert spec.class_names == ("__background__", "bolt", "nut", "gear")
    assert (spec.score_threshold, spec.nms_threshold, spec.max_detections, spec.max_proposals) == (
        0.1,
        0.4,
        40,
        150,
    )


def test_a_setting_that_is_given_wins_over_the_checkpoint(custom: MaskRCNN, tmp_path: Path) -> None:
    edgeseg.save_checkpoint(custom, tmp_path / "saved.pth")
    loaded = load_model(read_checkpoint(tmp_path / "saved.pth"), given={"mask_sampling_ratio": 3})
    assert loaded.model.roi_heads.mask_roi_pool.sampling_ratio == 3
    assert loaded.origins["mask_sampling_ratio"] is Origin.OPTION
    assert loaded.settings.mask_pool_size == 10


@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn_v2", "mobilenet_v3_large"])
def test_whole_models_of_other_architectures(tmp_path: Path, name: str) -> None:
    model = build(name, 3).eval()
    torch.save(model, tmp_path / "whole.pth")
    edgeseg.save_checkpoint(model, tmp_path / "saved.pth")
    expected = outputs(model, Preprocess())
    for path in tmp_path.iterdir():
        found = outputs(load_model(read_checkpoint(path)).model, Preprocess())
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_eps_of_single_parts(tmp_path: Path) -> None:
    model = build("resnet18", 3).eval()
    model.backbone.body.layer2[0].bn1.eps = 0.25
    torch.save(model, tmp_path / "whole.pth")
    loaded = load_model(read_checkpoint(tmp_path / "whole.pth"))
    assert loaded.settings.eps_of("backbone.body.layer2.0.bn1") == 0.25
    assert {loaded.settings.eps_of(f"backbone.body.{name}") for name in ("bn1", "layer2.0.bn2")} == {1e-5}
    assert loaded.model.backbone.body.layer2[0].bn1.eps == 0.25


class OwnMaskRCNN(MaskRCNN):  # type: ignore[misc]  # torchvision has no types
    def forward(self, *args: Any) -> Any:
        return super().forward(*args)


class Renamed(MaskRCNN):  # type: ignore[misc]  # torchvision has no types
    """Adds nothing."""


class OwnPredictor(FastRCNNPredictor):  # type: ignore[misc]  # torchvision has no types
    def forward(self, x: torch.Tensor) -> Any:
        scores, deltas = super().forward(x)
        return scores / 2, deltas


def with_leaky(model: Any) -> None:
    model.backbone.body.layer1[0].relu = nn.LeakyReLU()


def with_own_predictor(model: Any) -> None:
    model.roi_heads.box_predictor.__class__ = OwnPredictor


def with_stride(model: Any) -> None:
    model.backbone.body.layer1[0].conv1.stride = (2, 2)


def with_more_layers(model: Any) -> None:
    model.roi_heads.mask_head.add_module("more", nn.Sigmoid())


def with_own_class(model: Any) -> None:
    model.__class__ = OwnMaskRCNN


def with_other_levels(model: Any) -> None:
    model.roi_heads.box_roi_pool.canonical_scale = 100


CHANGES = {
    with_leaky: "relu is LeakyReLU and would be ReLU",
    with_own_predictor: "OwnPredictor",
    with_stride: r"conv1 has stride \(2, 2\) and would have \(1, 1\)",
    with_more_layers: "mask_head.more is Sigmoid and would be absent",
    with_own_class: "OwnMaskRCNN",
    with_other_levels: "canonical_scale 100 and would have 224",
}


@pytest.mark.parametrize(("change", "sentence"), CHANGES.items(), ids=[item.__name__ for item in CHANGES])
def test_a_model_that_computes_otherwise_is_refused_by_name(
    custom: MaskRCNN, tmp_path: Path, change: Any, sentence: str
) -> None:
    change(custom)
    torch.save(custom, tmp_path / "whole.pth")
    with pytest.raises(InputError, match=rf"whole\.pth holds a whole model .*{sentence}.*--factory"):
        load_model(read_checkpoint(tmp_path / "whole.pth"))
    with pytest.raises(ConfigError, match=rf"{sentence}.*--factory"):
        edgeseg.save_checkpoint(custom, tmp_path / "saved.pth")
    assert not (tmp_path / "saved.pth").exists()


def test_a_subclass_that_overrides_nothing_is_saved(custom: MaskRCNN, tmp_path: Path) -> None:
    custom.__class__ = Renamed
    edgeseg.save_checkpoint(custom, tmp_path / "saved.pth")
    assert load_model(read_checkpoint(tmp_path / "saved.pth")).settings == OWN


def test_what_save_checkpoint_refuses(custom: MaskRCNN, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes a torchvision MaskRCNN, got Linear"):
        edgeseg.save_checkpoint(nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"must end in one of \.pth, .*got x\.onnx"):
        edgeseg.save_checkpoint(custom, tmp_path / "x.onnx")
    with pytest.raises(InputError, match="3 classes and the background, class_names has 1 names"):
        edgeseg.save_checkpoint(custom, tmp_path / "x.pth", class_names=["bolt"])
    with pytest.raises(InputError, match="must be a list of names, got 'bolt'"):
        edgeseg.save_checkpoint(custom, tmp_path / "x.pth", class_names="bolt")
    (tmp_path / "file").touch()
    with pytest.raises(EdgeSegError, match="cannot write"):
        edgeseg.save_checkpoint(custom, tmp_path / "file" / "x.pth")
    custom.roi_heads.box_predictor.cls_score.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"cls_score\.weight has 1 of .* NaN"):
        edgeseg.save_checkpoint(custom, tmp_path / "x.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_saving_leaves_the_model_as_it_was(custom: MaskRCNN, tmp_path: Path) -> None:
    custom.train()
    custom.half()
    edgeseg.save_checkpoint(custom, tmp_path / "half.safetensors", class_names=["a", "b", "c"])
    assert custom.training
    assert custom.roi_heads.training
    found = read_checkpoint(tmp_path / "half.safetensors")
    assert torch.equal(found.weights["rpn.head.cls_logits.weight"], custom.rpn.head.cls_logits.weight.float())


def test_a_factory_says_its_settings_and_takes_no_others(
    custom: MaskRCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(custom, tmp_path / "whole.pth")
    monkeypatch.setattr("edgeseg.exporter.model.loading.model_from_factory", lambda name: customised())
    checkpoint = read_checkpoint(tmp_path / "whole.pth")
    loaded = load_model(checkpoint, factory="a:b")
    assert loaded.settings == OWN
    assert loaded.origins["image_mean"] is Origin.FACTORY
    assert loaded.architecture == "a:b"
    with pytest.raises(ConfigError, match="--settings and --factory cannot be given together"):
        load_model(checkpoint, factory="a:b", given={"min_size": 5})


def test_settings_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    with pytest.raises(InputError, match=r"cannot read settings from .*No such file"):
        settings_from_file(path)
    path.write_text("{")
    with pytest.raises(InputError, match="cannot read settings from"):
        settings_from_file(path)
    path.write_text('{"mean": 1}')
    with pytest.raises(InputError, match=r"settings\.json: there is no setting 'mean'"):
        settings_from_file(path)


def test_an_eps_of_0_is_computed(tmp_path: Path, photographs: np.ndarray) -> None:
    """PyTorch refuses to run `BatchNorm2d` so; a frozen one computes the same."""
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d)
    model = detecting(MaskRCNN(backbone, 5), photographs)
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    loaded = load_model(read_checkpoint(tmp_path / "bare.pth"), given={"batch_norm_eps": {"": 0.0}})
    assert {module.eps for module in loaded.model.modules() if isinstance(module, FrozenBatchNorm2d)} == {0.0}
    spec = exported_spec(loaded.model, (256, 320), max_proposals=100)
    assert sum(compare(loaded.model, spec, photographs[:1])) > 2


def test_a_mask_head_of_more_classes_than_the_classifier(photographs: np.ndarray, resnet18: MaskRCNN) -> None:
    logits = resnet18.roi_heads.mask_predictor.mask_fcn_logits
    wide = nn.Conv2d(logits.in_channels, 91, 1)
    assert wide.bias is not None
    with torch.no_grad():
        wide.weight[: logits.out_channels], wide.bias[: logits.out_channels] = logits.weight, logits.bias
    resnet18.roi_heads.mask_predictor.mask_fcn_logits = wide
    names = tuple(f"class_{label}" for label in range(5))
    spec = exported_spec(resnet18, (256, 320), max_proposals=100, class_names=names)
    assert sum(compare(resnet18, spec, photographs[:1])) > 2


def gray_model() -> Any:
    model = build("resnet18", 3)
    first = model.backbone.body.conv1
    model.backbone.body.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    model.backbone.body.conv1.weight.data = first.weight.data.mean(1, keepdim=True)
    model.transform.image_mean, model.transform.image_std = [0.4], [0.2]
    return model.eval()


def test_a_gray_model_computes_on_brightness(tmp_path: Path) -> None:
    model = gray_model()
    torch.save(model, tmp_path / "gray.pth")
    checkpoint = read_checkpoint(tmp_path / "gray.pth")
    config = ExportConfig(checkpoint=checkpoint.path, sizes_hw=(SIZE_HW,), max_proposals=20)
    loaded = load_configured_model(checkpoint, config)
    spec = describe_export(loaded, checkpoint, config)

    assert loaded.gray
    assert spec.preprocess == Preprocess(mean_rgb=(0.4,) * 3, std_rgb=(0.2,) * 3, gray=True)
    network = ExportedNetwork(loaded.model, spec, PortableOperators(2)).eval()
    with torch.inference_mode():
        found = network._features(torch.from_numpy(image()))["0"]
        gray = torch.from_numpy(pillow_gray(image()[0]))[None, None].float() / 255
        expected = model.backbone((gray - 0.4) / 0.2)["0"]
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    Reference(loaded.model, spec)(image())


def pillow_gray(image_bgr: np.ndarray) -> np.ndarray:
    from PIL import Image

    return np.array(Image.fromarray(image_bgr[..., ::-1]).convert("L"))


def test_brightness_is_pillows() -> None:
    pixels = image()
    rgb = torch.from_numpy(pixels[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    apart = np.abs(gray_from_rgb(rgb)[0, 0].numpy() - pillow_gray(pixels[0]).astype(float))
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.999
    gray = torch.full((1, 3, 1, 1), 77.0)
    assert gray_from_rgb(gray).item() == 77


def test_a_gray_model_needs_its_normalisation(tmp_path: Path) -> None:
    torch.save(gray_model().state_dict(), tmp_path / "gray.pth")
    checkpoint = read_checkpoint(tmp_path / "gray.pth")
    with pytest.raises(
        InputError, match=r"takes 1 channels, so image_mean must be one value.*assumed.*--settings"
    ):
        load_model(checkpoint)
    loaded = load_model(checkpoint, given={"image_mean": (0.4,), "image_std": (0.2,)})
    assert loaded.gray


def old_layout(model: Any) -> Any:
    """Turn a model into what torchvision before 0.14 pickled."""
    model.rpn.head.conv = model.rpn.head.conv[0][0]
    for blocks in (model.backbone.fpn.inner_blocks, model.backbone.fpn.layer_blocks):
        for index, block in enumerate(blocks):
            blocks[index] = block[0]
    head = nn.Sequential()
    for index in range(4):
        head.add_module(f"mask_fcn{index + 1}", model.roi_heads.mask_head[index][0])
        head.add_module(f"relu{index + 1}", nn.ReLU())
    model.roi_heads.mask_head = head
    return model


def test_a_whole_model_of_an_older_torchvision(custom: MaskRCNN, tmp_path: Path) -> None:
    expected = custom.state_dict()
    torch.save(old_layout(copy.deepcopy(custom)), tmp_path / "old.pth")
    checkpoint = read_checkpoint(tmp_path / "old.pth")
    assert checkpoint.legacy_names
    loaded = load_model(checkpoint)
    assert loaded.settings == OWN
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_anchors_that_do_not_fit_say_what_to_do(custom: MaskRCNN, tmp_path: Path) -> None:
    torch.save(custom.state_dict(), tmp_path / "bare.pth")
    checkpoint = read_checkpoint(tmp_path / "bare.pth")
    with pytest.raises(
        InputError, match=r"3 anchors a location on 5 levels; anchor_sizes \(8, 16\) .*--settings"
    ):
        load_model(checkpoint, given={"anchor_sizes": ((8.0, 16.0),) * 5})


def test_defaults_are_torchvisions() -> None:
    model = build("resnet18", 3)
    settings, _ = resolve_settings([])
    from edgeseg.exporter.model.modules import settings_from_modules

    assert ModelSettings(**settings_from_modules(describe_modules(model))) == settings == ModelSettings()


def test_a_bundle_of_an_older_version_opens() -> None:
    from edgeseg.records import json_from_record, record_from_json

    spec = exported_spec(build("resnet18", 3), SIZE_HW)
    data = json_from_record(spec)
    for name in ("settings", "origins", "remarks"):
        del data[name]
    del data["preprocess"]["gray"]
    assert record_from_json(ModelSpec, data, source="model.json") == spec


def test_detections_are_those_of_the_live_model_and_not_those_of_the_defaults(
    custom: MaskRCNN, tmp_path: Path
) -> None:
    custom.roi_heads.score_thresh = custom.rpn.score_thresh = 0.0
    torch.save(custom, tmp_path / "whole.pth")
    edgeseg.save_checkpoint(custom, tmp_path / "saved.pth")
    torch.save(custom.state_dict(), tmp_path / "bare.pth")
    frame = torch.from_numpy(image()[0]).permute(2, 0, 1).float() / 255

    def boxes_and_masks(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            found = model([frame])[0]
        return found["boxes"], found["masks"]

    boxes, masks = boxes_and_masks(custom)
    assert len(boxes) == 40
    for name in ("whole", "saved"):
        found = boxes_and_masks(load_model(read_checkpoint(tmp_path / f"{name}.pth")).model)
        assert torch.equal(found[0], boxes)
        assert torch.equal(found[1], masks)
    bare = boxes_and_masks(load_model(read_checkpoint(tmp_path / "bare.pth")).model)
    assert not (torch.cdist(boxes, bare[0]).min(1).values < 1).any()
