"""Building of torchvision's model from a checkpoint, its settings and the user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeseg.errors import ArtifactError, ConfigError, InputError
from edgeseg.files.reading import read_failure, read_regular
from edgeseg.records import parse_json
from edgeseg.settings import ModelSettings, Origin, resolve_settings, settings_from_json

from .architecture import FACTORY_HINT, default_settings, freeze_zero_eps, load_weights, model_from_weights
from .backbone import COLOUR, check_image_channels, first_convolution
from .factory import model_from_factory
from .modules import MASK_RCNN, describe_modules, differences, foreign_kinds, settings_from_modules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeseg.exporter.checkpoint import Checkpoint

SAVE_OR_BUILD_HINT = f"save it with `edgeseg.save_checkpoint(model, 'model.pth')`, or {FACTORY_HINT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """torchvision's model of a checkpoint.

    Attributes:
        model: `MaskRCNN` in evaluation.
        architecture: Such as `maskrcnn_resnet50_fpn`, or the name of the factory.
        settings: Settings of the model.
        origins: Where each setting comes from, by its name.
        gray: Whether the model takes images of one channel.
    """

    model: Any
    architecture: str
    settings: ModelSettings
    origins: dict[str, Origin]
    gray: bool


def load_model(
    checkpoint: Checkpoint, *, factory: str | None = None, given: Mapping[str, Any] | None = None
) -> LoadedModel:
    """Build torchvision's model of a checkpoint.

    Args:
        checkpoint: Its weights, and what it says of settings.
        factory: `package.module:function` that builds the model, settings and all; None to read the
            architecture from the weights.
        given: Settings that the user names; they win over the checkpoint's.

    Raises:
        ConfigError: The factory does not work, or settings are given beside it.
        InputError: The weights do not fit, or the checkpoint is of a model that cannot be rebuilt from them.
    """
    if factory is not None:
        return _from_factory(checkpoint, factory, given or {})
    descriptions = describe_modules(checkpoint.module) if checkpoint.module else {}
    checkpoint_settings = (
        {**checkpoint.settings, **settings_from_modules(descriptions)}
        if descriptions
        else checkpoint.settings
    )
    layers = (
        (Origin.OPTION, given or {}),
        (Origin.CHECKPOINT, checkpoint_settings),
        (Origin.ASSUMED, default_settings(checkpoint.weights)),
    )
    if class_name := _foreign_class(descriptions):
        msg = (
            f"{checkpoint.path} holds a whole model with code of its own ({class_name}), which is not run; "
            f"{SAVE_OR_BUILD_HINT}"
        )
        raise InputError(msg)
    settings, origins = resolve_settings(layers)
    architecture, model = model_from_weights(checkpoint.weights, settings)
    if descriptions and (
        faults := differences(descriptions, describe_modules(model), legacy_names=checkpoint.legacy_names)
    ):
        msg = f"{checkpoint.path} holds a whole model that is not {architecture}: {faults[0]}; {FACTORY_HINT}"
        raise InputError(msg)
    return _make_loaded_model(model, architecture, settings, origins)


def settings_from_file(path: Path) -> dict[str, Any]:
    """Read settings that a user has written, some or all, by the names of `ModelSettings`.

    Raises:
        InputError: No JSON, an unknown name, or a value that cannot work.
    """
    try:
        return settings_from_json(parse_json(read_regular(path).decode("utf-8-sig")), source=str(path))
    except (OSError, ValueError) as exc:
        raise InputError(read_failure(f"settings from {path}", exc)) from exc
    except ArtifactError as exc:
        raise InputError(str(exc)) from exc


def _from_factory(checkpoint: Checkpoint, factory: str, given: Mapping[str, Any]) -> LoadedModel:
    if given:
        msg = (
            "--settings and --factory cannot be given together: the function builds the model with settings "
            "of its own; change them there"
        )
        raise ConfigError(msg)
    model = model_from_factory(factory)
    load_weights(model, checkpoint.weights)
    settings, origins = resolve_settings([(Origin.FACTORY, settings_from_modules(describe_modules(model)))])
    return _make_loaded_model(model, factory, settings, origins)


def _foreign_class(descriptions: Mapping[str, Any]) -> str:
    """Name the class that decides what a pickled model computes and is not torch's or torchvision's."""
    if not descriptions:
        return ""
    class_name = foreign_kinds(dict(descriptions))
    return (
        class_name[0] if class_name else "" if descriptions[""].kind == MASK_RCNN else descriptions[""].kind
    )


def _make_loaded_model(
    model: Any, architecture: str, settings: ModelSettings, origins: dict[str, Origin]
) -> LoadedModel:
    freeze_zero_eps(model)
    channels = first_convolution(model.backbone).in_channels
    check_image_channels(channels)
    for name in ("image_mean", "image_std"):
        if len(values := getattr(settings, name)) != channels:
            colours = "three values, for RGB" if channels == COLOUR else "one value, as images are gray"
            msg = (
                f"the first convolution takes {channels} channels, so {name} must be {colours}; got "
                f"{list(values)} ({origins[name].value}); say it with --settings FILE.json"
            )
            raise InputError(msg)
    return LoadedModel(
        model=model, architecture=architecture, settings=settings, origins=origins, gray=channels != COLOUR
    )
