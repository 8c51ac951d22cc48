"""The wheel as a device gets it, without torch and onnx: with the newest and the oldest packages it takes."""

from __future__ import annotations

import email
import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import cv2
import pytest
from packaging.requirements import Requirement

from edgeseg.demo.conveyor import ConveyorScene

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "edgeseg" / "demo" / "conveyor.safetensors"
SIZE_HW = ("192", "256")
# With the newest of all the other tests are run, but for torch and onnx.
NEWEST_EXTRAS = ("cpu",)
OLDEST_EXTRAS = ("cpu", "openvino", "track", "web", "report")

pytestmark = pytest.mark.slow


def output_of(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device")


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    output_of(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (found,) = folder.glob("edgeseg-*.whl")
    return found


def oldest_of(wheel: Path) -> list[str]:
    """Pin what the wheel and its extras for a device ask for to the oldest version of each."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    asked = map(Requirement, metadata.get_all("Requires-Dist", []))
    wanted = [
        one
        for one in asked
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in OLDEST_EXTRAS)
    ]
    lowest = {
        one.name: clause.version for one in wanted for clause in one.specifier if clause.operator == ">="
    }
    assert len(lowest) == len({one.name for one in wanted}), "each must have a lower bound"
    return [f"{name}=={number}" for name, number in lowest.items()]


@pytest.fixture(scope="module", params=["newest", "oldest"])
def device(request: pytest.FixtureRequest, folder: Path, wheel: Path) -> Path:
    """The `bin` of a fresh environment with the wheel and its extras for a device."""
    home: Path = folder / request.param
    venv.create(home, with_pip=True)
    pip = (home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile")
    if request.param == "newest":
        output_of(*pip, f"{wheel}[{','.join(NEWEST_EXTRAS)}]", cwd=folder)
    else:
        output_of(*pip, f"{wheel}[{','.join(OLDEST_EXTRAS)}]", *oldest_of(wheel), cwd=folder)
        output_of(*pip, "--no-deps", "trackers==2.6.0", cwd=folder)
    return home / "bin"


@pytest.fixture(scope="module")
def belt(folder: Path) -> Path:
    """Ten pictures of a conveyor belt, and the same as a video."""
    scene = ConveyorScene(seed=1, size_hw=(192, 256))
    images = folder / "belt"
    images.mkdir()
    video = cv2.VideoWriter(str(folder / "belt.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (256, 192))
    for index in range(10):
        image = scene.frame(index).image
        cv2.imwrite(str(images / f"{index}.png"), image)
        video.write(image)
    video.release()
    return images


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A bundle, exported where torch is."""
    pytest.importorskip("torch")
    output = folder / "edgeseg-model"
    command = ("-c", "from edgeseg.tools.main import main; main()", "export", CHECKPOINT, "--no-parity")
    output_of(sys.executable, *command, "--size", *SIZE_HW, "-o", output, cwd=folder)
    return output


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"edgeseg"}
    for wanted in (
        "edgeseg/py.typed",
        "edgeseg/demo/conveyor.safetensors",
        "edgeseg/benchmark/page/templates/page.html.jinja",
        "edgeseg/streaming/web/files/page.html",
        "licenses/LICENSE",
        "licenses/NOTICE",
    ):
        assert any(name.endswith(wanted) for name in names), wanted
    assert any(name.startswith("edgeseg/vision/images/samples/") for name in names)


def test_neither_torch_nor_onnx_comes_with_it(device: Path, folder: Path) -> None:
    listed = json.loads(output_of(device / "python", "-m", "pip", "list", "--format=json", cwd=folder))

    assert {"torch", "torchvision", "onnx", "onnxscript"} & {package["name"] for package in listed} == set()


def lines_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "detections.jsonl").read_text("utf-8").splitlines()]


def test_a_bundle_runs(device: Path, model: Path, belt: Path, folder: Path) -> None:
    found = folder / f"found-{device.parent.name}"

    output_of(device / "edgeseg", "run", "--source", belt, "-o", found, cwd=folder)

    assert sum(len(line["detections"]) for line in lines_of(found)) >= 20
    assert isinstance(json.loads((found / "results.json").read_text("utf-8")), list)


def test_a_video_is_tracked_and_shown_on_a_page(device: Path, model: Path, belt: Path, folder: Path) -> None:
    if device.parent.name == "newest":
        pytest.skip("made without these extras")
    tracked = folder / "tracked"

    output_of(
        *(device / "edgeseg", "run", "--source", "belt.mp4", "-o", tracked),
        *("--track", "--zone", "all:0,0,1,0,1,1,0,1", "--web", "127.0.0.1:0"),
        cwd=folder,
    )

    scenes = json.loads((tracked / "summary.json").read_text("utf-8"))["scenes"]
    assert scenes["belt.mp4"]["entered"] >= 2
    assert (tracked / "overlay.mp4").stat().st_size > 1000


def test_nothing_breaks_or_is_deprecated(device: Path, model: Path, belt: Path, folder: Path) -> None:
    program = "import sys, cv2, edgeseg; print(len(edgeseg.load('edgeseg-model')(cv2.imread(sys.argv[1]))))"

    printed = output_of(device / "python", "-W", "error", "-c", program, belt / "9.png", cwd=folder)

    assert int(printed) >= 2


def test_the_other_verbs(device: Path, model: Path, folder: Path) -> None:
    assert "images uint8[1, 192, 256, 3]" in output_of(device / "edgeseg", "inspect", cwd=folder)
    report = json.loads(output_of(device / "edgeseg", "doctor", "--json", cwd=folder))
    (export,) = (item for item in report["components"] if item["name"] == "Export packages")
    assert export["mend"] == "pip install 'edgeseg[export]'"


def test_export_says_what_to_install(device: Path, folder: Path) -> None:
    done = subprocess.run(
        [device / "edgeseg", "export", "model.pth"], capture_output=True, text=True, cwd=folder, check=False
    )

    assert done.returncode == 1
    assert "pip install 'edgeseg[export]'" in done.stderr
    assert "Traceback" not in done.stderr
