"""A row's process: what comes back from it, and from one that crashes, hangs or chatters."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.benchmark.row import RowKind
from edgeseg.benchmark.runners.spec import RunnerSpec
from edgeseg.benchmark.worker.process import RowError, WorkerProcess
from edgeseg.benchmark.worker.requests import (
    CocoResults,
    DetectInstances,
    ListScores,
    LoadRow,
    ReadMemory,
    TimeCalls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READ = "import json, os, sys, time\nrequest = json.loads(sys.stdin.readline())\n"
CALL = TimeCalls(batch=0, threshold=0.5, calls=1)


@pytest.fixture
def start() -> Iterator[Callable[..., WorkerProcess]]:
    begun: list[WorkerProcess] = []

    def make(*script: str) -> WorkerProcess:
        process = (
            WorkerProcess((sys.executable, "-c", READ + "\n".join(script))) if script else WorkerProcess()
        )
        begun.append(process)
        return process

    yield make
    for process in begun:
        process.close()


def test_question_and_answer_as_json(start: Callable[..., WorkerProcess]) -> None:
    process = start("print(json.dumps({'ok': {'results': [request]}}), flush=True)", "sys.stdin.readline()")
    answer = process.ask(DetectInstances(path="a.png", image_id=7, threshold=0.5))

    asked = {"do": "detect", "path": "a.png", "image_id": 7, "threshold": 0.5}
    assert answer == CocoResults(results=(asked,))


def test_a_long_answer_comes_whole(start: Callable[..., WorkerProcess]) -> None:
    reply = "{'ok': {'scores': [0.5] * 60_000, 'images': 1}}"
    process = start(f"print(json.dumps({reply}), flush=True)", "sys.stdin.readline()")

    assert process.ask(ListScores(batch=0)).scores == (0.5,) * 60_000


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(
            "{'ok': {'found': 3}}", "the answer to call: CallTimes is incomplete", id="field-missing"
        ),
        pytest.param("{'ok': {'fund': 3}}", "answer to call: unknown key 'fund'", id="field-unknown"),
        pytest.param(
            "{'ok': {'times_ms': [float('nan')], 'stages_ms': [], 'found': 3}}",
            "the answer to call: times_ms: a finite number expected, got nan",
            id="not-a-number",
        ),
    ],
)
def test_an_answer_that_is_none_fails_the_row(
    start: Callable[..., WorkerProcess], reply: str, reason: str
) -> None:
    with pytest.raises(RowError, match=reason) as failed:
        start(f"print(json.dumps({reply}), flush=True)").ask(CALL)
    assert not failed.value.refused


def test_refusal_and_failure_are_told_apart(start: Callable[..., WorkerProcess]) -> None:
    refused = start("print(json.dumps({'error': 'no GPU', 'ours': True}), flush=True)")
    failed = start("print(json.dumps({'error': 'ValueError: x', 'ours': False}), flush=True)")

    with pytest.raises(RowError, match="no GPU") as first:
        refused.ask(CALL)
    with pytest.raises(RowError, match="ValueError: x") as second:
        failed.ask(CALL)
    assert (first.value.refused, second.value.refused) == (True, False)


def test_a_crash_is_told_with_its_signal_and_last_words(start: Callable[..., WorkerProcess]) -> None:
    process = start("print('the library says why', file=sys.stderr, flush=True)", "os.abort()")

    with pytest.raises(RowError, match="ended by SIGABRT: the library says why"):
        process.ask(CALL)
    # And so is every question after it.
    with pytest.raises(RowError, match="ended by SIGABRT"):
        process.ask(CALL)


def test_a_killed_process_hints_at_memory(start: Callable[..., WorkerProcess]) -> None:
    process = start("os.kill(os.getpid(), 9)")

    with pytest.raises(RowError, match="ended by SIGKILL, as happens where memory runs out"):
        process.ask(CALL)


def test_a_process_that_leaves(start: Callable[..., WorkerProcess]) -> None:
    with pytest.raises(RowError, match="its process ended with code 3"):
        start("sys.exit(3)").ask(CALL)


def test_one_that_hangs_is_ended(start: Callable[..., WorkerProcess]) -> None:
    process = start("time.sleep(600)")

    with pytest.raises(RowError, match=r"longer than 0\.2 s to call, and was ended"):
        process.ask(CALL, timeout_s=0.2)
    with pytest.raises(RowError, match="SIGKILL"):
        process.ask(CALL)


def test_closing_ends_it_and_may_be_done_twice(start: Callable[..., WorkerProcess]) -> None:
    process = start()
    process.close()
    process.close()

    with pytest.raises(RowError, match="its process was closed"):
        process.ask(ReadMemory())


def test_the_real_worker_answers_and_refuses(start: Callable[..., WorkerProcess], tmp_path: Path) -> None:
    process = start()
    np.save(tmp_path / "frames.npy", np.zeros((1, 1, 8, 8, 3), np.uint8))

    assert process.ask(ReadMemory()).peak_rss_mib > 1
    with pytest.raises(RowError, match="RuntimeError: asked before anything was opened"):
        process.ask(CALL)
    runner_spec = RunnerSpec(
        kind=RowKind.BUNDLE, engine="openvino", precision="fp32", model="absent", threads=1
    )
    with pytest.raises(RowError, match="no bundle at absent") as refused:
        process.ask(LoadRow(runner_spec=runner_spec, frames=str(tmp_path / "frames.npy")))
    assert refused.value.refused


OWNER = r"""
import os, subprocess, sys
from edgeseg.benchmark.worker.process import WorkerProcess
child = (
    "import os, subprocess, sys; os.setpgrp()\n"
    "from edgeseg.benchmark.worker.lifeline import exit_with_parent\n"
    "exit_with_parent(int(sys.argv[1]))\n"
    "compiler = subprocess.Popen(['sleep', '60'])\n"
    "print(os.getpid(), compiler.pid, file=open('/dev/fd/1', 'w'), flush=True)\n"
    "while True: pass"
)
worker = WorkerProcess((sys.executable, "-c", child))
print(worker._read_line(1e9).decode(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_computes_once_its_owner_was_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pids = owner.stdout.readline().split()
    assert len(pids) == 2

    owner.kill()
    owner.communicate()

    # Long, but shorter than what the child of the child sleeps.
    until = time.monotonic() + 30
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < until, pids
        time.sleep(0.02)


def runs(pid: str) -> bool:
    """Whether a process lives, and is not one that only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
