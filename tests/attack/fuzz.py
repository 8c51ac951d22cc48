"""Give `edgeseg` thousands of spoilt files, streams and requests, and see that it refuses each in a sentence.

    python -m tests.attack.fuzz --seed 0 --cases 2000

Each kind is attacked in a process of its own. What is wrong: an exception that is no `EdgeSegError`, a
process that dies, a case that takes longer than `SLOW_S`, memory that grows by more than `MOST_GROWN_MB`, and
an answer that says that the server has failed. Every case has a seed of its own, so that one can be repeated:
`--kind images --first 1234 --cases 1`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLOW_S = 20.0
START_S = 120.0
MOST_GROWN_MB = 400
MOST_SHOWN = 10
KINDS = ("bundles", "checkpoints", "images", "videos", "streams", "requests")


@dataclass
class Outcome:
    """What came of the cases of one kind."""

    kind: str
    cases: int = 0
    refused: int = 0
    taken: int = 0
    slowest_s: float = 0.0
    grown_mb: float = 0.0
    faults: list[str] = field(default_factory=list)


def attack(kind: str, seed: int, first: int, cases: int) -> Outcome:
    """Attack one kind; a case that hangs or kills its process is noted, and the rest goes on in a new one."""
    outcome, at = Outcome(kind), first
    while at < first + cases:
        at = _attack_until_death(outcome, seed, at, first + cases)
    return outcome


def _attack_until_death(outcome: Outcome, seed: int, first: int, end: int) -> int:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = context.Process(target=_work, args=(theirs, outcome.kind, folder, seed, first, end))
        child.start()
        theirs.close()
        at = first
        try:
            if mine.poll(START_S):
                mine.recv()
            while at < end:
                if not mine.poll(SLOW_S):
                    outcome.faults.append(f"case {at}: no end after {SLOW_S:g} s")
                    return at + 1
                _note(outcome, mine.recv())
                at += 1
        except EOFError:
            child.join()
            outcome.faults.append(f"case {at}: the process ended with {child.exitcode}")
            return at + 1
        finally:
            child.kill()
            child.join()
            mine.close()
    return at


def _note(outcome: Outcome, told: tuple[str, str, float, float]) -> None:
    verdict, words, taken_s, grown_mb = told
    outcome.cases += 1
    outcome.refused += verdict == "refused"
    outcome.taken += verdict == "taken"
    outcome.slowest_s = max(outcome.slowest_s, taken_s)
    outcome.grown_mb = max(outcome.grown_mb, grown_mb)
    if verdict == "fault":
        outcome.faults.append(words)


def _work(told: Any, kind: str, folder: str, seed: int, first: int, end: int) -> None:
    from edgeseg.errors import EdgeSegError

    from .targets import TARGETS

    target = TARGETS[kind](Path(folder))
    before_mb = _resident_mb()
    told.send("ready")
    for number in range(first, end):
        rng = random.Random(f"{seed} {kind} {number}")
        begin_s, verdict, words = time.monotonic(), "taken", ""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                target.attempt(rng)
        except EdgeSegError as exc:
            verdict = "refused"
            if not str(exc).strip():
                verdict, words = "fault", f"case {number}: {type(exc).__name__} without a word"
        except Exception:  # noqa: BLE001 - which is what is looked for
            verdict, words = "fault", f"case {number}: {traceback.format_exc()}"
        grown_mb = _resident_mb() - before_mb
        if grown_mb > MOST_GROWN_MB:
            verdict, words = "fault", f"case {number}: grown by {grown_mb:.0f} MB"
        told.send((verdict, words, time.monotonic() - begin_s, grown_mb))
    # Threads of a page or a server would be waited for.
    os._exit(0)


def _resident_mb() -> float:
    """Memory that the process has in use now, in MB; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def say(line: str) -> None:
    """Print at once, as an attack takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Attack each kind in turn and print a table; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=2000, help="of each kind")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=KINDS)
    options = parser.parse_args()
    wrong = False
    say(f"{'kind':12} {'cases':>6} {'refused':>8} {'taken':>6} {'slowest':>9} {'grown':>8} {'faults':>7}")
    for kind in options.kind or KINDS:
        found = attack(kind, options.seed, options.first, options.cases)
        wrong |= bool(found.faults)
        say(
            f"{kind:12} {found.cases:6} {found.refused:8} {found.taken:6} {found.slowest_s:7.2f} s "
            f"{found.grown_mb:5.0f} MB {len(found.faults):7}"
        )
        for fault in found.faults[:MOST_SHOWN]:
            say(fault)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
