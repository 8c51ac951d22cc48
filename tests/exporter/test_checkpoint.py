"""Checkpoints of every accepted form, and every kind of bad one."""

from __future__ import annotations

import pickle

import pytest
import safetensors.torch
import torch

from edgeseg.errors import InputError
from edgeseg.exporter.architecture import load_weights, model_from_weights
from edgeseg.exporter.checkpoint import read_checkpoint
from tests.data import shared
from tests.models import build


@pytest.fixture(scope="module")
def weights():
    return build("resnet18", 4).state_dict()


def assert_same(found, weights):
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
        lambda w: {key: value.half() if value.is_floating_point() else value for key, value in w.items()},
        lambda w: {key: value.bfloat16() if value.is_floating_point() else value for key, value in w.items()},
    ],
    ids=["bare", "model_state_dict", "state_dict", "model", "module", "orig_mod", "both", "half", "bfloat16"],
)
def test_accepted_forms(tmp_path, weights, wrap):
    path = tmp_path / "checkpoint.pth"
    torch.save(wrap(weights), path)
    found = read_checkpoint(path).weights
    assert all(value.dtype in (torch.float32, torch.int64) for value in found.values())
    if "bfloat16" in str(torch.load(path, weights_only=True)):
        assert found.keys() == weights.keys()
    else:
        assert_same(found, weights)


def test_safetensors_and_its_class_names(tmp_path, weights):
    path = tmp_path / "checkpoint.safetensors"
    metadata = {"class_names": '["bolt", "nut", "gear"]', "note": "not json"}
    safetensors.torch.save_file(weights, path, metadata)
    found = read_checkpoint(path)
    assert_same(found.weights, weights)
    assert found.class_names == ("bolt", "nut", "gear")


def test_names_of_layers_before_torchvision_0_14(tmp_path, weights):
    old = {
        key.replace("blocks.0.0.", "blocks.0.")
        .replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        .replace("mask_head.1.0.", "mask_head.mask_fcn2."): value
        for key, value in weights.items()
    }
    assert old.keys() != weights.keys()
    torch.save(old, tmp_path / "old.pth")
    assert_same(read_checkpoint(tmp_path / "old.pth").weights, weights)


def test_real_checkpoint():
    checkpoint = read_checkpoint(shared("models", "maskrcnn_resnet50_fpn_nuclei.pth"))
    assert checkpoint.class_names == ("nucleus",)
    assert model_from_weights(checkpoint.weights)[0] == "maskrcnn_resnet50_fpn"


class Exploit:
    def __reduce__(self):
        return print, ("code ran",)


def test_code_in_a_pickle_is_refused_by_name_and_not_run(tmp_path, capsys):
    torch.save({"model": Exploit()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"wants to run .*print"):
        read_checkpoint(tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(InputError, match=r"plain\.pth"):
        read_checkpoint(tmp_path / "plain.pth")
    assert "code ran" not in capsys.readouterr().out


def test_a_whole_model_is_refused_with_advice(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"torch\.nn.*state_dict\(\)"):
        read_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_missing_empty_truncated_and_garbage(tmp_path, weights, suffix):
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


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 1}, {}, {"model": {}}, torch.ones(3)])
def test_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InputError, match="must hold a state_dict"):
        read_checkpoint(tmp_path / "other.pth")


def test_other_models_are_named_by_their_keys(weights):
    with pytest.raises(InputError, match=r"not of a Mask R-CNN.*lacks backbone\.fpn.*features\.0"):
        model_from_weights({"features.0.weight": torch.ones(1)})
    no_masks = {key: value for key, value in weights.items() if "mask" not in key}
    with pytest.raises(InputError, match="Faster R-CNN, which has no mask head"):
        model_from_weights(no_masks)
    swapped = {**weights, "backbone.body.conv1.weight": torch.ones(32, 3, 7, 7)}
    with pytest.raises(InputError, match="the backbone is none of resnet18"):
        model_from_weights(swapped)


def test_unknown_anchors_ask_for_a_factory(weights):
    head = "rpn.head.cls_logits.weight"
    with pytest.raises(InputError, match=r"9 anchors a location on 5 levels.*--factory"):
        model_from_weights({**weights, head: torch.ones(9, 256, 1, 1)})


def test_a_tensor_too_many_too_few_or_of_another_shape(weights):
    model = build("resnet18", 4)
    with pytest.raises(InputError, match="1 left over such as surplus"):
        load_weights(model, {**weights, "surplus": torch.ones(1)})
    bias = "roi_heads.box_predictor.cls_score.bias"
    with pytest.raises(InputError, match=f"1 missing such as {bias}"):
        load_weights(model, {key: value for key, value in weights.items() if key != bias})
    with pytest.raises(InputError, match=rf"{bias} is \[7\] and must be \[4\]"):
        load_weights(model, {**weights, bias: torch.ones(7)})
