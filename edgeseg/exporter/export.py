"""Export of a checkpoint as a bundle, with the parity check."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgeseg import __version__
from edgeseg.bundle.manifest import (
    MANIFEST,
    check_bundle_folder,
    open_bundle,
    size_folder,
    staged,
    write_manifest,
)
from edgeseg.runtime.input_sizes import size_advice
from edgeseg.settings import ModelSettings, Origin
from edgeseg.spec import Lowering, ModelSpec, Preprocess

from .checkpoint import read_checkpoint
from .class_names import fit_names, names_from_file
from .config import apply_limits, detection_limits
from .graph import write_graph
from .model.architecture import class_count
from .model.loading import LoadedModel, load_model, settings_from_file
from .parity.check import check_parity, read_parity_images
from .torch_threads import torch_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle

    from .checkpoint import Checkpoint
    from .config import ExportConfig
    from .parity.check import ParityImages

RECORDED_VERSIONS = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "onnxruntime")
# Settings that have an option of their own.
SETTING_BY_OPTION = MappingProxyType(
    {
        "input_size_hw": "input_size_hw",
        "score_threshold": "box_score_thresh",
        "nms_threshold": "box_nms_thresh",
        "max_detections": "box_detections_per_img",
        "max_proposals": "rpn_post_nms_top_n_test",
    }
)


@torch_threads()
def export(
    config: ExportConfig,
    progress: Callable[[str], None] = lambda stage: None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Bundle:
    """Export a checkpoint as a bundle.

    Args:
        config: What to export and how.
        progress: Called with each stage as it begins.
        note: Called with advice for the user, such as an input size that suits the images better, or an
            assumption about the class names.

    Returns:
        The bundle, at `config.output`.

    Raises:
        ConfigError: Settings are not valid, or the output exists and may not be replaced.
        InputError: The checkpoint, the class names or the images of the parity check are unusable.
        ExportError: The graph could not be made.
        GraphParityError: A graph does not reproduce the detections of PyTorch; no bundle is written.
    """
    check_bundle_folder(config.output, force=config.force)
    check = read_parity_images(config.check) if config.parity else None
    progress(f"reading {config.checkpoint.name}")
    checkpoint = read_checkpoint(config.checkpoint)
    loaded = load_configured_model(checkpoint, config)
    model, spec = loaded.model, describe_export(loaded, checkpoint, config, note)
    sizes_hw = config.chosen_sizes_hw(loaded.settings.training_size_hw)
    specs = {size_hw: replace(spec, input_size_hw=size_hw) for size_hw in sizes_hw}
    if check is not None and config.check is not None:
        frames_hw = [(image.shape[0], image.shape[1]) for image in check.images]
        if advice := size_advice(frames_hw, sizes_hw, check.source):
            note(advice)
    with staged(config.output, force=config.force) as folder:
        write = partial(_write_size, model, check=check, progress=progress)
        other_folders = {size_hw: size_folder(size_hw) for size_hw in sizes_hw[1:]}
        for size_hw, subfolder in other_folders.items():
            (folder / subfolder).mkdir(parents=True)
            write(specs[size_hw], folder / subfolder)
        # Written last, as it lists the other sizes.
        write(
            specs[sizes_hw[0]],
            folder,
            listed=[f"{subfolder}/{MANIFEST}" for subfolder in other_folders.values()],
        )
    return open_bundle(config.output)


def _write_size(
    model: Any,
    spec: ModelSpec,
    folder: Path,
    *,
    check: ParityImages | None,
    progress: Callable[[str], None],
    listed: Sequence[str] = (),
) -> None:
    """Write the graphs of one input size, compare them with PyTorch, and describe them.

    Args:
        model: torchvision `MaskRCNN` with the counts and thresholds of `spec`.
        spec: Description of the model at this size.
        folder: Folder to write to.
        check: Images of the parity check; None to skip it.
        progress: Called with each stage as it begins.
        listed: Additional files in `folder` that the bundle lists.
    """
    height, width = spec.input_size_hw
    for lowering in Lowering:
        progress(f"exporting {lowering.file_name} at {height}x{width}")
        write_graph(model, spec, lowering, folder / lowering.file_name)
    if check is not None:
        spec = check_parity(model, spec, folder, check, progress)
    progress("writing the bundle")
    write_manifest(folder, spec, [*(lowering.file_name for lowering in Lowering), *listed])


def load_configured_model(checkpoint: Checkpoint, config: ExportConfig) -> LoadedModel:
    """Build torchvision's model of a checkpoint, in evaluation mode, with the user's settings.

    Raises:
        ConfigError: The factory cannot be imported.
        InputError: The weights do not fit any known architecture, or not that of the factory.
    """
    given = settings_from_file(config.settings) if config.settings else {}
    return load_model(checkpoint, factory=config.factory, given=given)


def describe_export(
    loaded: LoadedModel,
    checkpoint: Checkpoint,
    config: ExportConfig,
    note: Callable[[str], None] = lambda sentence: None,
) -> ModelSpec:
    """Describe what will be exported, and set torchvision's model to the same counts and thresholds.

    Raises:
        ConfigError: A setting is not valid.
        InputError: The class names are not usable.
    """
    model = loaded.model
    limits = detection_limits(model, config)
    apply_limits(limits, model)
    settings, origins = _exported_settings(loaded, config)
    return ModelSpec(
        class_names=_class_names(model, checkpoint, config.classes, note),
        input_size_hw=config.size_hw(loaded.settings.training_size_hw),
        batch=config.batch,
        max_detections=limits.max_detections,
        max_proposals=limits.max_proposals,
        score_threshold=limits.score_threshold,
        nms_threshold=limits.nms_threshold,
        mask_size=2 * model.roi_heads.mask_roi_pool.output_size[0],
        preprocess=_preprocess(loaded),
        architecture=loaded.architecture,
        checkpoint=checkpoint.path.name,
        checkpoint_sha256=checkpoint.sha256,
        versions={"edgeseg": __version__, **{name: version(name) for name in RECORDED_VERSIONS}},
        settings=settings,
        origins=origins,
        remarks=checkpoint.remarks,
    )


def _exported_settings(loaded: LoadedModel, config: ExportConfig) -> tuple[ModelSettings, dict[str, Origin]]:
    """Merge settings that were given as separate options, so that their origin is not reported as assumed."""
    option_values = {name: getattr(config, option) for option, name in SETTING_BY_OPTION.items()}
    given = {name: value for name, value in option_values.items() if value is not None}
    return replace(loaded.settings, **given), {**loaded.origins, **dict.fromkeys(given, Origin.OPTION)}


def _preprocess(loaded: LoadedModel) -> Preprocess:
    # A grayscale model has one value of each; the padding colour needs three.
    mean, std = (
        tuple(values) * (3 // len(values))
        for values in (loaded.settings.image_mean, loaded.settings.image_std)
    )
    return Preprocess(mean_rgb=mean, std_rgb=std, gray=loaded.gray)  # type: ignore[arg-type]


def _class_names(
    model: Any, checkpoint: Checkpoint, path: Path | None, note: Callable[[str], None]
) -> tuple[str, ...]:
    classes = class_count(model)
    if path is not None:
        return names_from_file(classes, path, note)
    return fit_names(classes, checkpoint.class_names, source=checkpoint.path.name, note=note)
