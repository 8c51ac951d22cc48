"""Run the graphs of a bundle and keep what they find; compare two such runs.

`emulated.sh` beside this file calls it, `run` once on x86 and once for each emulated ARM processor.

    python tests/arm/detect.py frames build/arm/calibration --first 1 --count 40
    python tests/arm/detect.py run MODEL FRAMES x86.npz
    python tests/arm/detect.py run MODEL FRAMES cortex-a76.npz --pixels-of x86.npz     # on ARM
    python tests/arm/detect.py compare MODEL x86.npz cortex-a76.npz
"""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cv2
import numpy as np

import edgeseg
from edgeseg.bundle.engines import machine_family
from edgeseg.bundle.manifest import open_bundle
from edgeseg.exporter.parity.comparison import ParityComparison, Tolerances, match_detections
from edgeseg.ports import OUTPUTS
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.spec import Lowering
from edgeseg.tools.console import print_lines, print_note, print_table
from edgeseg.vision.images.reader import image_paths, read_image
from edgeseg.vision.letterbox import letterbox_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeseg.bundle.manifest import Bundle

SCORE_THRESHOLD = 0.05
ENGINE = "engines/onnxruntime-int8.onnx"
ENGINE_MACHINE = "aarch64"
PRECISIONS = ("fp32", "int8")
FIELDS = ("counts", "boxes_xyxy", "scores", "labels", "masks")
COLUMNS = (
    *("processor", "graph", "frames", "x86 found", "matched", "missing", "extra"),
    *("median px", "box px", "score", "mask IoU"),
)
EXIT_DIFFERENT = 3


@click.group()
def main() -> None:
    """Same graphs, same frames, two kinds of processor."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--first", required=True, type=int, help="Seed of the first scene.")
@click.option("--count", required=True, type=int, help="Scenes, a frame each.")
def frames(folder: Path, first: int, count: int) -> None:
    """Render frames of the synthetic conveyor belt into FOLDER."""
    from edgeseg.demo.conveyor import ConveyorScene

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = ConveyorScene(seed=first + number).frame(17 * number).image
        cv2.imwrite(str(folder / f"{number:04d}.png"), image)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--pixels-of", type=click.Path(path_type=Path), help="Give the graphs the pixels of this run.")
def run(model: Path, folder: Path, output: Path, pixels_of: Path | None) -> None:
    """Run MODEL's FP32 graph and its ARM engine on the images of FOLDER, on this machine."""
    bundle = open_bundle(model)
    if machine_family(platform.machine()) == ENGINE_MACHINE:
        # A user's way in: it must take the engine here, and hold its record against this machine.
        with edgeseg.load(model) as loaded:
            print_note(loaded.description)
            if not loaded.description.endswith("INT8"):
                sys.exit(f"edgeseg.load must take the INT8 engine on {ENGINE_MACHINE}")
    images = np.concatenate(
        [letterbox_batch([read_image(path)], bundle.spec)[0] for path in image_paths(folder)]
    )
    given = images if pixels_of is None else np.load(pixels_of)["images"]
    kept: dict[str, Any] = {"images": images}
    for precision in PRECISIONS:
        start = time.perf_counter()
        kept |= _found(bundle, precision, given)
        print_note(f"{precision}: {len(images)} frames in {time.perf_counter() - start:.0f} s")
    np.savez_compressed(output, **kept)


def _found(bundle: Bundle, precision: str, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Collect the raw output of one graph over `uint8[N, H, W, 3]`, each name after its precision."""
    graph = bundle.graph_path(Lowering.PORTABLE)
    if precision == "int8":
        # Not by edgeseg.load, which refuses another machine's engine.
        graph = bundle.path / ENGINE
    backend = OnnxRuntimeBackend(graph, bundle.spec, threads=1)
    raw = [backend(image[None], SCORE_THRESHOLD) for image in images]
    return {f"{precision}_{name}": np.concatenate([getattr(one, name) for one in raw]) for name in FIELDS}


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("others", type=click.Path(path_type=Path), nargs=-1, required=True)
def compare(model: Path, reference: Path, others: tuple[Path, ...]) -> None:
    """Compare what OTHERS found with what REFERENCE found.

    FP32 is held to the bounds of `edgeseg export`. In INT8 a difference in the last bit of a float rounds a
    value the other way, and all that follows moves; so there the measure is how far the same engine moves on
    x86 when ONNX Runtime computes its nodes one by one, in float between roundings, instead of fused.
    """
    bundle, expected = open_bundle(model), dict(np.load(reference))
    unfused = _differences(bundle, "int8", expected, _unfused(bundle, expected["images"]))
    as_int8 = {f"int8_{name}": expected[f"fp32_{name}"] for name in FIELDS}
    floats = _differences(bundle, "int8", expected, as_int8)
    rows = [("x86, not fused", "int8", *unfused.cells()), ("x86, FP32 instead", "int8", *floats.cells())]
    resizing, passed = [], True
    for path in others:
        found = dict(np.load(path))
        off = np.abs(expected["images"].astype(int) - found["images"])
        share = f"{100 * (off > 0).mean():.1f} %"
        print_lines(f"{path.stem}: {share} of the letterboxed values differ from x86, by {off.max()} at most")
        for precision in PRECISIONS:
            differences = _differences(bundle, precision, expected, found)
            rows.append((path.stem, precision, *differences.cells()))
            passed = passed and differences.within(unfused if precision == "int8" else None)
            # What the other pixels alone are worth, the processor being the same.
            moved = _differences(bundle, precision, expected, _found(bundle, precision, found["images"]))
            resizing.append((f"pixels of {path.stem}", precision, *moved.cells()))
    verdict = "passed" if passed else "DIFFERENT"
    print_table(f"Same pixels, against x86, above a score of {SCORE_THRESHOLD}: {verdict}", COLUMNS, rows)
    print_table("Both on x86, not judged", COLUMNS, resizing)
    if not passed:
        sys.exit(EXIT_DIFFERENT)


def _unfused(bundle: Bundle, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Run the ARM engine without ONNX Runtime's optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(bundle.path / ENGINE, options, providers=["CPUExecutionProvider"])
    threshold = np.array(SCORE_THRESHOLD, np.float32)
    raw = [session.run(OUTPUTS, {"images": image[None], "score_threshold": threshold}) for image in images]
    columns = zip(*raw, strict=True)
    return {f"int8_{name}": np.concatenate(column) for name, column in zip(FIELDS, columns, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Two runs over the same frames.

    Attributes:
        agreement: By the parity gate.
        median_px: Of the largest difference of each matched box.
    """

    agreement: ParityComparison
    median_px: float

    def cells(self) -> tuple[str, ...]:
        """Give the cells below `COLUMNS`, but for the first two."""
        row = self.agreement.row()
        counts = (row.images, row.reference_detections, row.matched, row.missing, row.extra)
        return (
            *(str(count) for count in counts),
            f"{self.median_px:.4f}",
            f"{row.max_box_error_px:.4f}",
            f"{row.max_score_error:.6f}",
            f"{row.min_mask_iou:.4f}",
        )

    def within(self, noise: Differences | None) -> bool:
        """Hold them to the gate, or to twice another's typical difference."""
        if noise is None:
            return self.agreement.passed()
        row = self.agreement.row()
        return row.missing == row.extra == 0 and self.median_px <= 2 * noise.median_px


def _differences(
    bundle: Bundle, precision: str, expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]
) -> Differences:
    from edgeseg.exporter.model.reference import ImageDetections

    agreement = ParityComparison(
        lowering=Lowering.PORTABLE,
        # INT8: missing or extra is what has a score above 0.5 and no partner.
        tolerances=Tolerances(score=0.5 - SCORE_THRESHOLD) if precision == "int8" else Tolerances(),
        max_detections=bundle.spec.max_detections,
        score_threshold=SCORE_THRESHOLD,
        size_hw=bundle.spec.input_size_hw,
    )
    moved: list[float] = []
    for index in range(len(expected["images"])):
        sides = []
        for side in (expected, found):
            rows = slice(int(side[f"{precision}_counts"][index]))
            sides.append(
                ImageDetections(**{name: side[f"{precision}_{name}"][index, rows] for name in FIELDS[1:]})
            )
        agreement.add(*sides)
        one, other = sides
        moved += [
            float(np.abs(one.boxes_xyxy[i] - other.boxes_xyxy[j]).max())
            for i, j in match_detections(one, other)
        ]
    return Differences(agreement=agreement, median_px=float(np.median(moved)) if moved else 0.0)


if __name__ == "__main__":
    main()
