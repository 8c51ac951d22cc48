"""The command `edgeseg evaluate`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgeseg.bundle.engines import Precision, Target
from edgeseg.dataset import average_precision
from edgeseg.dataset.average_precision import AveragePrecision, truth_from_detections
from edgeseg.runtime.model import Model, load
from edgeseg.tools.main import cli
from edgeseg.vision.images.reader import read_image
from tests.runtime.fake_bundle import make_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from edgeseg.dataset.labelled import LabelledImages
    from edgeseg.runtime.choice import EngineChoice
    from edgeseg.vision.detections import Detections

pytest.importorskip("onnxruntime")

LABELS = Path("instances_val.json")
FP32, INT8 = (Target.ONNXRUNTIME, Precision.FP32), (Target.ONNXRUNTIME, Precision.INT8)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """Call `edgeseg evaluate` in a folder with a bundle, three photos and labels that are what it finds."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "edgeseg-model")
    Path("photos").mkdir()
    found = []
    with load(tmp_path / "edgeseg-model", threads=1) as model:
        for number in (1, 2, 3):
            cv2.imwrite(f"photos/{number}.png", np.full((64, 96, 3), 20 * number, np.uint8))
            found.append((number, model(read_image(Path(f"photos/{number}.png")), 0.05)))
    truth = truth_from_detections(found, 0.05)
    for item in truth["images"]:
        item["file_name"] = f"{item['id']}.png"
    LABELS.write_text(json.dumps(truth), "utf-8")

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(cli, ["evaluate", *(args or ("--annotations", str(LABELS)))])

    return invoke


def change(**changes: Any) -> None:
    LABELS.write_text(json.dumps({**json.loads(LABELS.read_text("utf-8")), **changes}), "utf-8")


def content(name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(LABELS.read_text("utf-8"))[name]
    return items


def test_the_table_is_all_on_stdout(run: Callable[..., Result]) -> None:
    result = run()

    assert (result.exit_code, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    for part in (
        "COCO average precision, in points of 100",
        "FP32 100.00 100.00 100.00 100.00",
        "images 3 in ., none skipped",
        "instances 15",
        "best 100 of an image and class, above 0.05",
    ):
        assert part in words


def test_json_has_fractions_and_classes(run: Callable[..., Result]) -> None:
    result = run("--annotations", str(LABELS), "--images", "photos", "--precision", "fp32", "--json")

    report = json.loads(result.stdout)
    (row,) = report["rows"]
    assert (row["name"], row["scores"]["images"], row["scores"]["instances"]) == ("FP32", 3, 15)
    assert row["scores"]["box_ap"] == pytest.approx(1)
    assert set(row["scores"]["mask_ap_by_class"]) == {"bolt", "nut", "washer"}
    assert (report["model"], report["images"], report["skipped"]) == ("edgeseg-model", "photos", [])


def test_the_example_on_the_help_page(run: Callable[..., Result]) -> None:
    example = run("--help").stdout.partition("Example:")[2].split()
    assert example[:2] == ["edgeseg", "evaluate"]

    assert run(*example[2:]).exit_code == 0


class AboveHalf:
    """Finds only what scores above 0.5."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.spec = model.spec

    def __call__(self, frames: Sequence[NDArray[np.uint8]], score_threshold: float) -> list[Detections]:
        return self._model(frames, 0.5)


def test_rows_are_compared_with_the_first(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.benchmark.evaluate.available_engines", lambda bundle, choice: (FP32, INT8))
    as_is = average_precision.evaluate
    rounded: list[Model] = []

    def load_any(path: Path, choice: EngineChoice) -> Model:
        model = load(path, threads=choice.threads)
        if choice.precision == "int8":
            rounded.append(model)
        return model

    def worse(detector: Model, labelled: LabelledImages, **rest: Any) -> AveragePrecision:
        return as_is(AboveHalf(detector) if detector in rounded else detector, labelled)

    monkeypatch.setattr("edgeseg.benchmark.evaluate.open_model", load_any)
    monkeypatch.setattr("edgeseg.benchmark.evaluate.evaluate", worse)

    # Above 0.5 are one of two bolts, one of two nuts and the washer, and half is 51 of 101 points of recall.
    assert "INT8 67.00 67.00 67.00 67.00 -33.00 -33.00" in " ".join(run().stdout.split())


def test_skipped_images_are_named_and_counted(run: Callable[..., Result]) -> None:
    Path("photos/1.png").write_text("hello")
    Path("photos/3.png").unlink()
    result = run()

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "skipped 3.png: annotated, and not in the folder",
        "skipped 1.png: photos/1.png is not an image that can be read (5 bytes)",
    ]
    assert "images 1 in ., 2 skipped" in " ".join(result.stdout.split())
    report = json.loads(run("--annotations", str(LABELS), "--json").stdout)
    assert [item["name"] for item in report["skipped"]] == ["3.png", "1.png"]
    assert report["rows"][0]["scores"]["instances"] == 5


def test_many_skipped_images_are_not_all_printed(run: Callable[..., Result]) -> None:
    change(
        images=[
            *content("images"),
            *({**content("images")[0], "id": i, "file_name": f"{i}.png"} for i in range(4, 19)),
        ]
    )
    lines = run().stderr.splitlines()

    assert len(lines) == 11
    assert lines[-1] == "and 5 more; --json lists them all"


def test_a_remark_on_classes(run: Callable[..., Result]) -> None:
    change(
        annotations=[x for x in content("annotations") if x["category_id"] == 1],
        categories=content("categories")[:1],
    )
    result = run()

    assert result.exit_code == 0
    assert result.stderr == "not scored, for the annotations have no such category: 'nut', 'washer'\n"


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--images", "photos"),
        ("--annotations", "x.json", "--max-images", "0"),
        ("--annotations", "x.json", "--threads", "0"),
    ],
)
def test_wrong_usage(run: Callable[..., Result], args: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["evaluate", *args])

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr


LABELS_ARG = ("--annotations", str(LABELS))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--annotations", "absent.json"), "no annotations at absent.json"),
        (("--annotations", "photos/1.png"), "cannot read annotations from photos/1.png"),
        ((*LABELS_ARG, "--images", "absent"), "no folder at absent"),
        ((*LABELS_ARG, "--images", "edgeseg-model"), "among the 0 images in edgeseg-model"),
        ((*LABELS_ARG, "--model", "absent"), "no bundle at absent"),
        ((*LABELS_ARG, "--precision", "int2"), "precision must be one that edgeseg-model has (fp32"),
        ((*LABELS_ARG, "--checkpoint", "absent.pth"), "no checkpoint at absent.pth"),
        ((*LABELS_ARG, "--checkpoint", str(LABELS)), "instances_val.json is"),
    ],
)
def test_bad_input_is_one_sentence(run: Callable[..., Result], args: tuple[str, ...], words: str) -> None:
    result = run(*args)

    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda: LABELS.write_text(""), "are empty (0 bytes)"),
        (lambda: LABELS.write_text(LABELS.read_text("utf-8")[:900], "utf-8"), "truncated or not JSON"),
        (lambda: LABELS.write_text("[]"), "must be a COCO object"),
        (lambda: change(annotations=[]), "its list of annotations is empty"),
        (
            lambda: change(categories=[{"id": i, "name": f"kind {i}"} for i in (1, 2, 3)]),
            "'bolt', 'nut', 'washer'",
        ),
        (
            lambda: change(
                images=[{**item, "file_name": f"x{item['id']}.png"} for item in content("images")]
            ),
            "the annotations do not match the images",
        ),
        (lambda: cv2.imwrite("photos/2.png", np.zeros((32, 96, 3), np.uint8)), "photos/2.png is 32x96"),
        (
            lambda: [path.write_text("hello") for path in Path("photos").iterdir()],
            "none of the 3 images can be read",
        ),
        (lambda: Path("edgeseg-model/portable.onnx").write_bytes(b"onnx"), "truncated or altered"),
    ],
    ids=[
        "empty labels",
        "truncated labels",
        "labels that are a list",
        "no annotations",
        "other categories",
        "other file names",
        "an image of another size",
        "broken images",
        "altered graph",
    ],
)
def test_spoilt_input_is_one_sentence(
    run: Callable[..., Result], spoil: Callable[[], object], words: str
) -> None:
    spoil()
    result = run()

    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert "unexpected" not in result.stderr


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Where the tests themselves run in the background, the shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_first_row(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, by: signal.Signals
) -> None:
    monkeypatch.setattr(average_precision, "read_image", lambda path, **settings: os.kill(os.getpid(), by))
    result = run()

    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.startswith("error: interrupted")


@pytest.mark.usefixtures("interruptible")
def test_interrupted_later_prints_the_rows_before(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseg.benchmark.evaluate.available_engines", lambda bundle, choice: (FP32, INT8))

    def load_one(path: Path, choice: EngineChoice) -> Model:
        if choice.precision != "fp32":
            os.kill(os.getpid(), signal.SIGINT)
        return load(path, threads=choice.threads)

    monkeypatch.setattr("edgeseg.benchmark.evaluate.open_model", load_one)
    result = run("--annotations", str(LABELS), "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; finished before it: FP32\n"
    assert ([row["name"] for row in report["rows"]], report["interrupted"]) == (["FP32"], True)


def test_a_camera_of_12_bits(run: Callable[..., Result]) -> None:
    for path in Path("photos").glob("*.png"):
        with_white = read_image(path)
        with_white[0, 0] = 255
        cv2.imwrite(str(path), with_white)
    before = run("--annotations", str(LABELS), "--json")
    for path in Path("photos").glob("*.png"):
        cv2.imwrite(str(path), read_image(path).astype(np.uint16) << 4)

    guessed = run("--annotations", str(LABELS), "--json")
    given = run("--annotations", str(LABELS), "--json", "--bit-depth", "12")

    rows = [json.loads(result.stdout)["rows"] for result in (before, guessed, given)]
    assert rows[0] == rows[1] == rows[2]
    assert "1.png is read as an image of 12 bits, because its largest sample is 4080" in guessed.stderr
    assert "12 bits" not in given.stderr
