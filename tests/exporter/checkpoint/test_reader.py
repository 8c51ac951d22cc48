"""Checkpoints of every accepted form, and every kind of bad one."""

from __future__ import annotations

import argparse
import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import safetensors.torch
import torch
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

from edgeseg.demo import checkpoint_path
from edgeseg.errors import InputError
from edgeseg.exporter.checkpoint import read_checkpoint
from edgeseg.exporter.model.architecture import class_count, load_weights, model_from_weights
from tests.data import shared
from tests.models import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torchvision.models.detection import MaskRCNN


def narrow() -> MaskRCNN:
    """A model with a box head so narrow that its file is small."""
    model = build("resnet18", 4)
    model.roi_heads.box_head = TwoMLPHead(256 * 7 * 7, 8)
    model.roi_heads.box_predictor = FastRCNNPredictor(8, 4)
    return model


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = narrow().state_dict()
    return weights


def assert_same(found: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]) -> None:
    assert found.keys() == weights.keys()
    assert all(torch.allclose(found[key].float(), weights[key].float(), atol=2e-3) for key in weights)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model_state_dict": w, "epoch": 3},
        lambda w: {"state_dict": w},
        lambda w: {"model": w, "optimizer": {"lr": 0.1}},
        lambda w: {f"module.{key}": value for key, value in w.items()},
        lambda w: {f"_orig_mod.{key}": value for key, value in w.items()},
        lambda w: {"model": {f"module._orig_mod.{key}": value for key, value in w.items()}},
        lambda w: {"state_dict": {**{f"model.{k}": v for k, v in w.items()}, "loss.weight": torch.ones(2)}},
        lambda w: {"ema": {"shadow": {f"net.model.{key}": value for key, value in w.items()}}},
        lambda w: {key.replace("body.", "body._orig_mod."): value for key, value in w.items()},
        lambda w: {key: value.half() if value.is_floating_point() else value for key, value in w.items()},
        lambda w: {key: value.bfloat16() if value.is_floating_point() else value for key, value in w.items()},
    ],
    ids=[
        "bare",
        "model_state_dict",
        "state_dict",
        "model",
        "module",
        "orig_mod",
        "both",
        "lightning",
        "any prefix",
        "compiled part",
        "half",
        "bfloat16",
    ],
)
def test_accepted_forms(
    tmp_path: Path, weights: dict[str, torch.Tensor], wrap: Callable[[dict[str, torch.Tensor]], Any]
) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(wrap(weights), path)
    found = read_checkpoint(path).weights
    assert all(value.dtype in (torch.float32, torch.int64) for value in found.values())
    if "bfloat16" in str(torch.load(path, weights_only=True)):
        assert found.keys() == weights.keys()
    else:
        assert_same(found, weights)


def test_safetensors_and_its_class_names(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "checkpoint.safetensors"
    metadata = {"class_names": '["bolt", "nut", "gear"]', "note": "not json"}
    safetensors.torch.save_file(weights, path, metadata)
    found = read_checkpoint(path)
    assert_same(found.weights, weights)
    assert found.class_names == ("bolt", "nut", "gear")


def test_names_of_layers_before_torchvision_0_14(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    old = {
        key.replace("blocks.0.0.", "blocks.0.")
        .replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        .replace("mask_head.1.0.", "mask_head.mask_fcn2."): value
        for key, value in weights.items()
    }
    assert old.keys() != weights.keys()
    torch.save(old, tmp_path / "old.pth")
    assert_same(read_checkpoint(tmp_path / "old.pth").weights, weights)


def test_real_checkpoint() -> None:
    checkpoint = read_checkpoint(shared("models", "maskrcnn_resnet50_fpn_nuclei.pth"))
    assert checkpoint.class_names == ("nucleus",)
    assert model_from_weights(checkpoint.weights)[0] == "maskrcnn_resnet50_fpn"


def test_a_whole_model_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"holds a whole torch\.nn\.\S+Linear; .*save_checkpoint"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_missing_empty_truncated_and_garbage(
    tmp_path: Path, weights: dict[str, torch.Tensor], suffix: str
) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    with pytest.raises(InputError, match="no checkpoint at"):
        read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_checkpoint(path)
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"\x00" * 1000, b"hello world\n" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"truncated or not a|is not a PyTorch"):
            read_checkpoint(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 1}, {}, {"model": {}}, pytest.param(torch.ones(3), id="tensor")]
)
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match="must hold a state_dict"):
        read_checkpoint(tmp_path / "other.pth")


def test_other_models_are_named_by_their_keys(weights: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match=r"not of a Mask R-CNN.*lacks backbone\.fpn.*features\.0"):
        model_from_weights({"features.0.weight": torch.ones(1)})
    no_masks = {key: value for key, value in weights.items() if "mask" not in key}
    with pytest.raises(InputError, match="Faster R-CNN, which has no mask head"):
        model_from_weights(no_masks)
    swapped = {**weights, "backbone.body.conv1.weight": torch.ones(32, 3, 7, 7)}
    with pytest.raises(InputError, match="the backbone is none of resnet18"):
        model_from_weights(swapped)


def test_unknown_anchors_ask_for_a_factory(weights: dict[str, torch.Tensor]) -> None:
    head = "rpn.head.cls_logits.weight"
    with pytest.raises(InputError, match=r"9 anchors a location on 5 levels.*--factory"):
        model_from_weights({**weights, head: torch.ones(9, 256, 1, 1)})


def test_a_tensor_too_many_too_few_or_of_another_shape(weights: dict[str, torch.Tensor]) -> None:
    model = narrow()
    with pytest.raises(InputError, match="1 left over such as surplus"):
        load_weights(model, {**weights, "surplus": torch.ones(1)})
    bias = "roi_heads.box_predictor.cls_score.bias"
    with pytest.raises(InputError, match=f"1 missing such as {bias}"):
        load_weights(model, {key: value for key, value in weights.items() if key != bias})
    with pytest.raises(InputError, match=rf"{bias} is \[7\] and must be \[4\]"):
        load_weights(model, {**weights, bias: torch.ones(7)})


@pytest.mark.parametrize(
    ("content", "taken", "left"),
    [
        (lambda own, copy: {"model": own, "model_ema": copy}, "'model'", "'model_ema'"),
        (lambda own, copy: {"model_ema": copy, "model": own}, "'model'", "'model_ema'"),
        (
            lambda own, copy: {
                **{f"teacher.{key}": value for key, value in copy.items()},
                **{f"student.{key}": value for key, value in own.items()},
            },
            "'student'",
            "'teacher'",
        ),
    ],
    ids=["beside", "before", "prefixes"],
)
def test_of_a_model_and_its_copy_the_model_is_taken_and_said(
    tmp_path: Path, content: Callable[..., dict[str, Any]], taken: str, left: str
) -> None:
    name = "roi_heads.box_predictor.cls_score.weight"
    torch.save(content({name: torch.ones(2, 3)}, {name: torch.zeros(2, 3) + 2}), tmp_path / "two.pth")
    found = read_checkpoint(tmp_path / "two.pth")
    assert found.weights[name].unique().tolist() == [1]
    assert f"{taken} is exported, and not {left}" in found.remarks[0]


def archive(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, content in files.items():
            opened.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        (b"<!doctype html><title>404</title>", "a web page"),
        (b"\xef\xbb\xbf  <HTML><body>", "a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, as Keras and TensorFlow write"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX graph"),
        (b"\x1f\x8b\x08" + bytes(20), "packed with gzip"),
        (bytes(257) + b"ustar" + bytes(255), "a tar archive"),
        (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
        (bytes(5000), "nothing but zeros"),
        (b"epoch,loss\n1,0.5\n", "text that begins 'epoch,loss 1,0.5'"),
        (b'{"model": 1}', "text that begins"),
        (archive(m__constants_dot_pkl=b"", m__data_dot_pkl=b""), "a TorchScript program"),
        (archive(photo_dot_jpg=b"", weights_dot_pth=b""), "a zip archive of photo.jpg, weights.pth"),
        (archive(arr_0_dot_npy=b""), r"NumPy arrays \(.npz\)"),
        (archive(model_dot_weights_dot_h5=b"", config_dot_json=b""), "a Keras model"),
    ],
    ids=[
        "Git LFS",
        "HTML",
        "HTML after a byte order mark",
        "HDF5",
        "ONNX",
        "gzip",
        "tar",
        "TensorFlow Lite",
        "zeros",
        "text",
        "JSON",
        "TorchScript",
        "zip",
        "NumPy",
        "Keras",
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"model\.pth is not a PyTorch checkpoint but {sentence}"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"\x08", b"\x80", b"a", b"PK", b"PK\x03\x04", b"\x80\x02.", b"\x80\x02}."]
)
def test_files_of_a_few_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tiny.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"tiny\.pth (is|must)"):
        read_checkpoint(tmp_path / "tiny.pth")


def test_real_torchscript_and_a_zip_without_an_end(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(InputError, match="but a TorchScript program; export its weights"):
        read_checkpoint(tmp_path / "script.pt")
    (tmp_path / "half.pth").write_bytes((tmp_path / "script.pt").read_bytes()[:-200])
    with pytest.raises(InputError, match="truncated or not a checkpoint"):
        read_checkpoint(tmp_path / "half.pth")


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    weights = {"roi_heads.box_predictor.cls_score.weight": torch.ones(2, 3)}
    torch.save(weights, tmp_path / "pickled.safetensors")
    safetensors.torch.save_file(weights, tmp_path / "safe.pth")
    assert read_checkpoint(tmp_path / "pickled.safetensors").weights.keys() == weights.keys()
    assert read_checkpoint(tmp_path / "safe.pth").weights.keys() == weights.keys()


NAME = "roi_heads.box_predictor.cls_score.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        (NAME, torch.tensor([[1.0, float("nan")]]), "has 1 of 2 values that are NaN or infinite"),
        (NAME, torch.tensor([[1.0, float("inf")]]), "has 1 of 2 values that are NaN or infinite"),
        (NAME, torch.tensor([[1e300]], dtype=torch.float64), "too large for float32"),
        (NAME, torch.ones(0, 4), r"has no elements \(shape \[0, 4\]\)"),
        (NAME, torch.ones(2, 3, dtype=torch.int8), "must hold floating-point numbers and holds torch.int8"),
        (NAME, torch.ones(2, 3, dtype=torch.complex64), "holds torch.complex64"),
        (NAME, torch.ones(2, 3, dtype=torch.bool), "holds torch.bool"),
        (NAME, torch.ones(2, 3, device="meta"), "is a meta tensor, which has no values"),
        (NAME, torch.eye(3).to_sparse(), "is a sparse tensor"),
        (NAME, torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8), "is a quantised tensor"),
        (NAME, torch.zeros(2, 3), "all weights are zero"),
        ("a.running_var", torch.tensor([1.0, -2.0]), "is a variance and has values below 0, such as -2"),
    ],
    ids=[
        "NaN",
        "infinite",
        "beyond float32",
        "no elements",
        "int8",
        "complex64",
        "bool",
        "meta",
        "sparse",
        "quantised",
        "zeros",
        "negative variance",
    ],
)
def test_a_broken_tensor_is_named(tmp_path: Path, name: str, tensor: torch.Tensor, sentence: str) -> None:
    path = tmp_path / "broken.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({NAME: torch.ones(2, 3), name: tensor}, path)
    with pytest.raises(InputError, match=rf"broken\.pth: .*{sentence}"):
        read_checkpoint(path)


def test_counts_of_batches_alone_are_no_model(tmp_path: Path) -> None:
    torch.save({"backbone.body.bn1.num_batches_tracked": torch.tensor(3)}, tmp_path / "counts.pth")
    checkpoint = read_checkpoint(tmp_path / "counts.pth")
    with pytest.raises(InputError, match="not of a Mask R-CNN"):
        model_from_weights(checkpoint.weights)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"class_names": ["bolt", "nut"]}, ("bolt", "nut")),
        (
            {"classes": {0: "__background__", 1: "bolt", 3: "nut"}},
            ("__background__", "bolt", "class_2", "nut"),
        ),
        ({"classes": {"bolt": 1, "nut": 2}}, ("bolt", "nut")),
        ({"hyper_parameters": {"class_names": ("bolt", "nut")}}, ("bolt", "nut")),
        ({"args": argparse.Namespace(class_names=["bolt"])}, ("bolt",)),
        ({"classes": 7}, ()),
        ({"classes": {"a": "b"}}, ()),
    ],
)
def test_class_names_of_every_form(tmp_path: Path, content: dict[str, Any], names: tuple[str, ...]) -> None:
    torch.save({"model": {NAME: torch.ones(2, 3)}, **content}, tmp_path / "named.pth")
    assert read_checkpoint(tmp_path / "named.pth").class_names == names


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ({"min_size": 512, "max_size": 640}, {"min_size": 512, "max_size": 640}),
        ({"input_size_hw": (384, 512)}, {"input_size_hw": (384, 512), "min_size": 384, "max_size": 512}),
        ({"config": {"image_mean": [0.5, 0.5, 0.5], "batch_size": 8}}, {"image_mean": (0.5, 0.5, 0.5)}),
        ({"args": argparse.Namespace(box_score_thresh=0.3, lr=0.1)}, {"box_score_thresh": 0.3}),
        ({"args": argparse.Namespace(rpn_score_thresh=None)}, {}),
        ({"min_size": "large", "image_std": [0.0]}, {}),
        (
            {"args": argparse.Namespace(model="maskrcnn_resnet50_fpn", weights="COCO_V1")},
            {"batch_norm_eps": {"": 0.0}},
        ),
        ({"args": argparse.Namespace(model="maskrcnn_resnet50_fpn", weights=None)}, {}),
        ({"edgeseg": {"batch_norm_eps": 0.0}, "min_size": 5}, {"batch_norm_eps": {"": 0.0}, "min_size": 5}),
    ],
)
def test_settings_that_a_checkpoint_says(
    tmp_path: Path, content: dict[str, Any], settings: dict[str, Any]
) -> None:
    torch.save({"model": {NAME: torch.ones(2, 3)}, **content}, tmp_path / "said.pth")
    assert read_checkpoint(tmp_path / "said.pth").settings == settings


def test_settings_in_the_metadata_of_safetensors(tmp_path: Path) -> None:
    metadata = {"edgeseg": json.dumps({"min_size": 512, "anchor_sizes": [8, 16]}), "max_size": "640"}
    safetensors.torch.save_file({NAME: torch.ones(2, 3)}, tmp_path / "said.safetensors", metadata)
    found = read_checkpoint(tmp_path / "said.safetensors").settings
    assert found == {"min_size": 512, "max_size": 640, "anchor_sizes": ((8.0,), (16.0,))}


def test_what_edgeseg_wrote_must_be_known(tmp_path: Path) -> None:
    torch.save({"model": {NAME: torch.ones(2, 3)}, "edgeseg": {"min_sise": 5}}, tmp_path / "new.pth")
    with pytest.raises(InputError, match=r"new\.pth: edgeseg: there is no setting 'min_sise'.*newer edgeseg"):
        read_checkpoint(tmp_path / "new.pth")


def test_torchvisions_own_coco_weights_are_known_by_their_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "coco.pth"
    torch.save({NAME: torch.ones(2, 3)}, path)
    assert read_checkpoint(path).settings == {}
    monkeypatch.setattr("edgeseg.exporter.checkpoint.metadata.COCO_WEIGHTS", read_checkpoint(path).sha256[:8])
    assert read_checkpoint(path).settings == {"batch_norm_eps": {"": 0.0}}


def test_the_conveyor_says_its_size() -> None:
    found = read_checkpoint(checkpoint_path())
    assert found.settings["input_size_hw"] == (384, 512)
    assert len(found.class_names) == 6


def test_the_classifier_counts_the_classes_and_the_mask_head_may_have_more(
    weights: dict[str, torch.Tensor],
) -> None:
    logits = "roi_heads.mask_predictor.mask_fcn_logits"
    more = {
        **weights,
        **{f"{logits}.{key}": torch.cat([weights[f"{logits}.{key}"]] * 9) for key in ("weight", "bias")},
    }
    _, model = model_from_weights(more)
    assert class_count(model) == 4
    assert model.roi_heads.mask_predictor.mask_fcn_logits.out_channels == 36
    fewer = {**weights, **{f"{logits}.{key}": weights[f"{logits}.{key}"][:3] for key in ("weight", "bias")}}
    with pytest.raises(InputError, match=r"4 classes with the background and the mask head .* only 3"):
        model_from_weights(fewer)
    one = {**weights, NAME: weights[NAME][:1]}
    with pytest.raises(InputError, match="has 1 output, the background alone"):
        model_from_weights(one)


@pytest.mark.parametrize(
    "name",
    [
        "backbone.fpn.inner_blocks.0.0.weight",
        "rpn.head.cls_logits.weight",
        NAME,
        "roi_heads.box_head.fc6.weight",
        "roi_heads.mask_head.0.0.weight",
        "roi_heads.mask_predictor.conv5_mask.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (7,), (1, 1, 1, 1, 1)])
def test_tensors_of_other_shapes_are_a_sentence(
    weights: dict[str, torch.Tensor], name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InputError):
        model_from_weights({**weights, name: torch.ones(shape)})


@pytest.mark.parametrize(("channels", "sentence"), [(4, "and takes 4: cameras"), (2, "and takes 2")])
def test_images_of_other_channels_are_refused(
    weights: dict[str, torch.Tensor], channels: int, sentence: str
) -> None:
    first = torch.ones(64, channels, 7, 7)
    with pytest.raises(InputError, match=sentence):
        model_from_weights({**weights, "backbone.body.conv1.weight": first})


def test_other_frameworks_are_named() -> None:
    with pytest.raises(InputError, match="of detectron2, and edgeseg takes torchvision"):
        model_from_weights({"proposal_generator.rpn_head.conv.weight": torch.ones(1)})
