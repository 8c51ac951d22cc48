"""Which classification network lies under the pyramid, read from the names and shapes of its tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d

from edgeseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PREFIX = "backbone.body."
FIRST_CONVOLUTIONS = ("conv1.weight", "0.0.weight")
COLOUR = 3
IMAGE_CHANNELS = (1, COLOUR)
RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
MOBILENETS = ("mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small")


def backbone_from_weights(weights: Mapping[str, Tensor]) -> tuple[str, BackboneWithFPN]:
    """Build the backbone whose tensors these are; its weights are not loaded.

    Returns:
        torchvision's name of the classification network, and the network with its pyramid.

    Raises:
        InputError: No known network has these tensors.
    """
    body = {key.removeprefix(PREFIX): value for key, value in weights.items() if key.startswith(PREFIX)}
    # mobilenet_backbone and resnet_fpn_backbone freeze batch norm unless told otherwise; both have eps 1e-5.
    has_counts = any(key.endswith("num_batches_tracked") for key in body)
    norm = nn.BatchNorm2d if has_counts else FrozenBatchNorm2d
    image_channels = _image_channels(body)
    name = _match_network(body, norm, image_channels)
    network = _build_body(name, norm, image_channels)
    channels = _pyramid_inputs(weights)
    stages = _stages(network, channels, body)
    return name, BackboneWithFPN(
        network,
        return_layers={stage: str(index) for index, stage in enumerate(stages)},
        in_channels_list=channels,
        out_channels=int(weights["backbone.fpn.inner_blocks.0.0.weight"].shape[0]),
        norm_layer=nn.BatchNorm2d if "backbone.fpn.inner_blocks.0.1.weight" in weights else None,
    )


def first_convolution(backbone: nn.Module) -> nn.Conv2d:
    """Find the convolution that takes the images.

    Raises:
        InputError: There is none.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            return module
    msg = "the backbone has no convolution to take the images"
    raise InputError(msg)


def check_image_channels(channels: int) -> None:
    """Refuse a model for images that are neither colour nor gray.

    Raises:
        InputError: It takes neither 3 channels (colour) nor 1 (gray).
    """
    if channels not in IMAGE_CHANNELS:
        msg = (
            f"the first convolution must take 3 channels (colour) or 1 (gray) and takes {channels}: cameras, "
            "pictures and videos have no others, so edgeseg cannot run this model"
        )
        raise InputError(msg)


def _build_body(name: str, norm: Any, image_channels: int) -> Any:
    network: Any = models.get_model(name, weights=None, norm_layer=norm)
    network = network.features if name in MOBILENETS else network
    if image_channels != COLOUR:
        first = first_convolution(network)
        shape = (first.out_channels, image_channels, *first.kernel_size)
        first.in_channels, first.weight = image_channels, nn.Parameter(torch.empty(shape))
    return network


def _image_channels(body: Mapping[str, Tensor]) -> int:
    """Read how many channels an image has; colour if no first convolution is known."""
    first = next((body[key] for key in FIRST_CONVOLUTIONS if key in body), None)
    if first is None or first.ndim != 4:
        return COLOUR
    check_image_channels(int(first.shape[1]))
    return int(first.shape[1])


def _match_network(body: Mapping[str, Tensor], norm: Any, image_channels: int) -> str:
    children = {key.partition(".")[0] for key in body}
    found = {key: tuple(value.shape) for key, value in body.items()}
    for name in RESNETS if "layer1" in children else MOBILENETS:
        with torch.device("meta"):
            candidate = _build_body(name, norm, image_channels).state_dict()
        if found == {
            key: tuple(value.shape) for key, value in candidate.items() if key.partition(".")[0] in children
        }:
            return name
    known = ", ".join(RESNETS + MOBILENETS)
    shown = ", ".join(PREFIX + key for key in list(body)[:3]) or f"none under {PREFIX}"
    msg = (
        f"the backbone is none of {known} (its first tensors: {shown}); "
        "name a function that builds the model with --factory package.module:function"
    )
    raise InputError(msg)


def _pyramid_inputs(weights: Mapping[str, Tensor]) -> list[int]:
    channels: list[int] = []
    while (block := weights.get(f"backbone.fpn.inner_blocks.{len(channels)}.0.weight")) is not None:
        channels.append(int(block.shape[1]))
    return channels


def _stages(network: Any, channels: list[int], body: Mapping[str, Tensor]) -> list[str]:
    """Find the children of the body that the pyramid reads, by their channels, from the last one back."""
    children = {key.partition(".")[0] for key in body}
    outputs = [(name, size) for name, size in _stage_channels(network) if name in children]
    stages: list[str] = []
    for wanted in reversed(channels):
        while outputs and outputs[-1][1] != wanted:
            outputs.pop()
        if not outputs:
            msg = f"no stages of the backbone have the {channels} channels that the pyramid reads"
            raise InputError(msg)
        stages.append(outputs.pop()[0])
    return stages[::-1]


def _stage_channels(network: Any) -> list[tuple[str, int]]:
    """Name and channels of each stage: a ResNet's four layers, or where torchvision cuts a MobileNet."""
    if isinstance(network, models.ResNet):
        return [(f"layer{i}", network.inplanes // 2 ** (4 - i)) for i in range(1, 5)]
    blocks = list(network.children())
    stage_indices = [
        0,
        *(i for i, block in enumerate(blocks) if getattr(block, "_is_cn", False)),
        len(blocks) - 1,
    ]
    return [(str(i), blocks[i].out_channels) for i in stage_indices]
