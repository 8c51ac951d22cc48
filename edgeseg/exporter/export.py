"""Checkpoint in, bundle out, and the proof that it computes the same."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgeseg import __version__
from edgeseg.bundle import check_target, open_bundle, staged, write_manifest
from edgeseg.spec import Lowering, ModelSpec, Preprocess

from .architecture import load_weights, model_from_weights
from .checkpoint import read_checkpoint
from .classes import names_for, names_from_file
from .config import impose, limits_of
from .factory import model_from_factory
from .gate import check_images, run_gate
from .graph import write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgeseg.bundle import Bundle

    from .checkpoint import Checkpoint
    from .config import ExportConfig

RECORDED_VERSIONS = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "onnxruntime")


def export(
    config: ExportConfig,
    progress: Callable[[str], None] = lambda stage: None,
    note: Callable[[str], None] = lambda line: None,
) -> Bundle:
    """Export a checkpoint as a bundle.

    Args:
        config: What to export and how.
        progress: Called with each stage as it begins.
        note: Called with a sentence for what the class names leave open.

    Returns:
        The bundle, at `config.output`.

    Raises:
        ConfigError: Settings that cannot work, or something is already at the output.
        InputError: The checkpoint, the class names or the images of the gate are unusable.
        ExportError: The graph could not be made.
        GraphParityError: A graph does not find what PyTorch finds; no bundle is written.
    """
    check_target(config.output, force=config.force)
    check = check_images(config.check) if config.parity else None
    progress(f"reading {config.checkpoint.name}")
    checkpoint = read_checkpoint(config.checkpoint)
    architecture, model = model_of(checkpoint, config)
    spec = spec_of(model, architecture, checkpoint, config, note)
    with staged(config.output, force=config.force) as folder:
        for lowering in Lowering:
            progress(f"exporting {lowering.file_name}")
            write_graph(model, spec, lowering, folder / lowering.file_name)
        names = [lowering.file_name for lowering in Lowering]
        if check is not None:
            spec = run_gate(model, spec, folder, check, progress)
        progress("writing the bundle")
        write_manifest(folder, spec, names)
    return open_bundle(config.output)


def model_of(checkpoint: Checkpoint, config: ExportConfig) -> tuple[str, Any]:
    """Build torchvision's model of a checkpoint, in evaluation, and name its architecture.

    Raises:
        ConfigError: The factory is not a name that can be imported.
        InputError: The weights do not fit any architecture that is known, or not the factory's.
    """
    if config.factory is None:
        return model_from_weights(checkpoint.weights)
    model = model_from_factory(config.factory)
    load_weights(model, checkpoint.weights)
    return config.factory, model


def spec_of(
    model: Any,
    architecture: str,
    checkpoint: Checkpoint,
    config: ExportConfig,
    note: Callable[[str], None] = lambda line: None,
) -> ModelSpec:
    """Describe what is to be exported, and set torchvision's `model` to the same counts and thresholds.

    Raises:
        ConfigError: A setting cannot work.
        InputError: The class names do not do.
    """
    limits = limits_of(model, config)
    impose(limits, model)
    return ModelSpec(
        class_names=_class_names(model, checkpoint, config.classes, note),
        input_size_hw=config.size_hw,
        batch=config.batch,
        max_detections=limits.max_detections,
        max_proposals=limits.max_proposals,
        score_threshold=limits.score_threshold,
        nms_threshold=limits.nms_threshold,
        mask_size=2 * model.roi_heads.mask_roi_pool.output_size[0],
        preprocess=Preprocess(
            mean_rgb=tuple(model.transform.image_mean),
            std_rgb=tuple(model.transform.image_std),
        ),
        architecture=architecture,
        checkpoint=checkpoint.path.name,
        checkpoint_sha256=checkpoint.sha256,
        versions={"edgeseg": __version__, **{name: version(name) for name in RECORDED_VERSIONS}},
    )


def _class_names(
    model: Any, checkpoint: Checkpoint, path: Path | None, note: Callable[[str], None]
) -> tuple[str, ...]:
    classes = model.roi_heads.mask_predictor.mask_fcn_logits.weight.shape[0]
    if path is not None:
        return names_from_file(classes, path, note)
    return names_for(classes, checkpoint.class_names, source=checkpoint.path.name, note=note)
