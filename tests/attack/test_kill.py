"""The short form of `kill.py`: writers in a loop, killed at random moments."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from edgeseg.bundle.manifest import open_bundle, staged
from edgeseg.files.pairs import exclusive_publishing
from edgeseg.files.records import write_json
from tests.bundle.test_manifest import fill

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 12
LONGEST_S = 0.05

WRITERS = {
    "file": """
from edgeseg.files.records import write_json
while True:
    write_json(folder / "report.json", {"filler": [1] * 5000})
""",
    "bundle": """
from edgeseg.bundle.manifest import staged
from tests.bundle.test_manifest import fill
while True:
    with staged(folder / "model", force=True) as new:
        fill(new)
""",
    "bundle-two-renames": """
from edgeseg.bundle.manifest import staged
from edgeseg.files import placement
from tests.bundle.test_manifest import fill
placement.exchange = lambda one, other: False
while True:
    with staged(folder / "model", force=True) as new:
        fill(new)
""",
    "bundle-in-place": """
from edgeseg.bundle.manifest import staged
from edgeseg.files import placement
from tests.bundle.test_manifest import fill
placement.is_unmovable = lambda target: True
while True:
    with staged(folder / "model", force=True) as new:
        fill(new)
""",
    "pair": """
from edgeseg.files.pairs import exclusive_publishing, publish_pair
from edgeseg.files.temporary import sweep, temporary_folder
number = 0
while True:
    number += 1
    with exclusive_publishing(folder):
        sweep(folder)
    with temporary_folder(folder) as new:
        (new / "a.onnx").write_text(str(number))
        (new / "a.json").write_text(str(number))
        publish_pair(new / "a.onnx", folder / "a.onnx")
""",
}


@pytest.mark.parametrize("kind", list(WRITERS))
def test_what_is_there_is_whole_after_a_kill(tmp_path: Path, kind: str) -> None:
    write_json(tmp_path / "report.json", {})
    with staged(tmp_path / "model", force=False) as folder:
        fill(folder)
    for suffix in ("json", "onnx"):
        (tmp_path / f"a.{suffix}").write_text("0", "utf-8")
    script = (
        "import sys; from pathlib import Path; folder = Path(sys.argv[1]); print(flush=True)" + WRITERS[kind]
    )
    # One interpreter loads the modules once; what it forks is killed.
    forks = (
        "import os, sys, time\nimport edgeseg.bundle.manifest, tests.bundle.test_manifest\n"
        "script = sys.stdin.read()\n"
        "for wait_s in map(float, sys.argv[2:]):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        exec(script)\n"
        "    time.sleep(wait_s)\n"
        "    os.kill(child, 9)\n"
        "    status = os.waitpid(child, 0)[1]\n"
        "    assert os.WIFSIGNALED(status), f'a writer ended by itself: {status}'\n"
    )
    rng = random.Random(kind)
    for _ in range(2):
        waits = [str(rng.uniform(0.005, LONGEST_S)) for _ in range(KILLS // 2)]
        command = [sys.executable, "-c", forks, str(tmp_path), *waits]
        subprocess.run(command, input=script.encode(), check=True, timeout=60, stdout=subprocess.DEVNULL)

        json.loads((tmp_path / "report.json").read_text("utf-8"))
        assert open_bundle(tmp_path / "model")
        with exclusive_publishing(tmp_path) if kind == "pair" else nullcontext():
            assert (tmp_path / "a.json").read_text() == (tmp_path / "a.onnx").read_text()
    with staged(tmp_path / "model", force=True) as folder:
        fill(folder)
    write_json(tmp_path / "report.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.onnx", "model", "report.json"]
    assert not [path for path in (tmp_path / "model").iterdir() if path.name.startswith(".")]
