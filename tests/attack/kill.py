"""Kill every command that writes, at random moments, and look at what is there afterwards.

    python -m tests.attack.kill --seed 0 --times 100 --command run --command build-engine

What existed must be intact, nothing half-written may be taken, a rerun must work, nothing may be left behind
after it, and nothing may compute 5 s after its parent died. Exit code 1 if anything of that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edgeseg.bundle.engines import loaded_path, read_engine_record, recorded_engines
from edgeseg.bundle.manifest import open_bundle
from edgeseg.demo import checkpoint_path
from edgeseg.errors import EdgeSegError
from edgeseg.files.records import check_folder

EDGESEG = (sys.executable, "-c", "from edgeseg.tools.main import main; main()")
# Of the duration of a whole call: before it, programs only import.
EARLIEST, LATEST = 0.3, 1.02
GONE_S = 5.0
RERUN_EVERY = 5
WHOLE_S = 600.0
SIZE = ("--size", "128", "160", "--no-parity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command that writes into its folder, which holds what an earlier call wrote."""

    name: str
    words: tuple[str, ...]
    bundle: str = "model"


def cases() -> tuple[Case, ...]:
    """All commands that write; those that load PyTorch take tens of seconds."""
    checkpoint, engine = str(checkpoint_path()), ("--target", "onnxruntime", "--force")
    bench = ("--rows", "onnxruntime-*", "--repeats", "2", "--frames", "1", "--margin", "0", "--no-compile")
    tune = ("--max-latency-ms", "1000", "--images", "photos", "--minutes", "0.1", "--size", "128", "160")
    return (
        Case(name="run", words=("run", "--source", "photos", "-o", "found", "--force")),
        Case(name="run-video", words=("run", "--source", "clip.mp4", "-o", "clips", "--force")),
        Case(name="build-engine", words=("build-engine", "--fp32", *engine)),
        Case(name="build-int8", words=("build-engine", "--int8", *engine)),
        Case(name="calibrate", words=("calibrate", "--calib", "photos", "--no-check", "--force")),
        Case(name="benchmark", words=("benchmark", *bench, "-o", "report.json", "--html", "page.html")),
        Case(
            name="export", words=("export", checkpoint, "-o", "exported", *SIZE, "--force"), bundle="exported"
        ),
        Case(name="tune", words=("tune", checkpoint, *tune, "-o", "tuned", "--force")),
        Case(name="demo", words=("demo", "--frames", "4", "--scored", "1", "-o", "demo", "--force")),
    )


class Ground:
    """A folder with a bundle, images and a video, and a folder for temporary files of its own."""

    def __init__(self, folder: Path) -> None:
        self.work, self.temporary = folder / "work", folder / "tmp"
        self.work.mkdir()
        self.temporary.mkdir()
        rng = np.random.default_rng(0)
        (self.work / "photos").mkdir()
        clip = cv2.VideoWriter(str(self.work / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240))
        for number in range(12):
            image = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (320, 240))
            cv2.imwrite(str(self.work / "photos" / f"{number}.png"), image)
            clip.write(image)
        clip.release()

    def start(self, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, which tells its processes from others."""
        return subprocess.Popen(
            (*EDGESEG, *words),
            cwd=self.work,
            env={**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def whole(self, words: tuple[str, ...]) -> tuple[float, str]:
        """Run a command to its end; its duration, and what it said where it failed."""
        start = time.monotonic()
        process = self.start(words)
        said = process.communicate(timeout=WHOLE_S)[1].decode(errors="replace")
        return time.monotonic() - start, said.strip()[-300:] if process.returncode else ""

    def faults(self) -> list[str]:
        """Name what is half-written under a name that results have."""
        found = []
        for path in sorted(self.work.rglob("*")):
            if path.is_file() and not any(part.startswith(".edgeseg-") for part in path.parts):
                try:
                    fault = _fault(path)
                except (OSError, ValueError) as exc:
                    fault = f"{type(exc).__name__}: {exc}"
                found += [f"{path.name}: {fault}"] if fault else []
        return found

    def left(self) -> list[str]:
        """Name what a call that ended well has left behind, of itself or of those that were killed."""
        everywhere = [*self.work.rglob(".*"), *self.temporary.iterdir()]
        # PyTorch's cache of compiled kernels is meant to stay.
        return [path.name for path in everywhere if "torchinductor" not in path.name]


def _fault(path: Path) -> str:
    text = path.suffix in (".json", ".jsonl", ".partial") and path.read_text("utf-8")
    if path.suffix == ".jsonl" and text:
        for line in text.splitlines():
            json.loads(line)
        return "" if text.endswith("\n") else "its last line is cut"
    if path.suffix == ".html":
        return "" if path.read_text("utf-8").rstrip().endswith("</html>") else "it is cut"
    if text is not False:
        json.loads(text or "x") if path.name != "detections.jsonl" else None
    if path.suffix == ".mp4" and not cv2.VideoCapture(str(path)).isOpened():
        return "it does not open"
    if path.suffix in (".png", ".jpg") and cv2.imread(str(path)) is None:
        return "it does not open"
    return ""


def bundle_faults(folder: Path, *, engines: bool) -> list[str]:
    """Say whether a bundle that was there is there, whole, with its engines."""
    try:
        bundle = open_bundle(folder)
        wanted = recorded_engines(folder)
        for target, precision in wanted:
            record = read_engine_record(folder, target, precision)
            path = loaded_path(folder, record)
            if record.file is not None and path.stat().st_size != record.file.size:
                return [f"{path.name} is not the engine of its record"]
    except (EdgeSegError, OSError) as exc:
        return [str(exc)]
    return ["its engines are gone"] if engines and not (bundle and wanted) else []


def alive(session: int) -> list[int]:
    """List the processes of a session that are not merely waiting to be reaped."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = path.read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(facts[3]) == session and facts[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def kill(ground: Ground, case: Case, after_s: float) -> tuple[bool, list[str]]:
    """Kill a command after a while; whether it was still running, and what does not hold."""
    process = ground.start(case.words)
    time.sleep(after_s)
    running = process.poll() is None
    process.kill()
    process.communicate()
    until, faults = time.monotonic() + GONE_S, ground.faults()
    faults += bundle_faults(ground.work / case.bundle, engines=case.bundle == "model")
    while left := alive(process.pid):
        if time.monotonic() > until:
            faults.append(f"{len(left)} processes live on")
            os.killpg(left[0], signal.SIGKILL)
            break
        time.sleep(0.1)
    return running, faults


def attack(ground: Ground, case: Case, times: int, rng: random.Random) -> tuple[int, Counter[str], float]:
    """Kill one command again and again; how often it was running, what did not hold, its duration."""
    found: Counter[str] = Counter()
    usual_s, said = ground.whole(case.words)
    if said:
        return 0, Counter({f"does not run: {said}": 1}), usual_s
    hit = 0
    for number in range(1, times + 1):
        running, faults = kill(ground, case, usual_s * rng.uniform(EARLIEST, LATEST))
        hit += running
        if number % RERUN_EVERY == 0 or number == times:
            _, said = ground.whole(case.words)
            faults += [f"a rerun fails: {said}"] if said else []
            faults += [f"left behind: {name}" for name in ground.left()]
        found.update(faults)
    return hit, found, usual_s


def prepare(ground: Ground) -> None:
    """Export, calibrate and build once, for what must stay intact."""
    check_folder(ground.work)
    calibration = ("calibrate", "--calib", "photos", "--no-check")
    for words in (
        ("export", str(checkpoint_path()), "-o", "model", *SIZE),
        tuple(calibration),
        ("build-engine", "--int8", "--target", "onnxruntime"),
        ("build-engine", "--fp32", "--target", "onnxruntime"),
    ):
        words = (*words, "--model", "model") if words[0] != "export" else words
        _, said = ground.whole(words)
        if said:
            sys.exit(f"{words[0]} fails: {said}")


def main() -> None:
    """Attack all commands, or those that are named, and print a table."""
    known = {case.name: case for case in cases()}
    parser = argparse.ArgumentParser(description="Kill every command that writes, at random moments.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--command", action="append", choices=sorted(known))
    asked = parser.parse_args()
    failed = False
    folder = Path(tempfile.mkdtemp(prefix="edgeseg-kill-"))
    try:
        ground = Ground(folder)
        prepare(ground)
        for name in asked.command or known:
            rng = random.Random(f"{asked.seed} {name}")
            case = replace(known[name], words=_with_model(known[name].words))
            hit, found, usual_s = attack(ground, case, asked.times, rng)
            failed |= bool(found)
            print(f"{name:14} {usual_s:6.1f} s  {hit:3} of {asked.times} killed running  ", end="")  # noqa: T201
            print(dict(found) or "nothing found", flush=True)  # noqa: T201
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(failed)


def _with_model(words: tuple[str, ...]) -> tuple[str, ...]:
    takes = words[0] in ("run", "build-engine", "calibrate", "benchmark")
    return (*words, "--model", "model") if takes else words


if __name__ == "__main__":
    main()
