"""The program of a row's process: JSON questions on stdin, one a line, and answers on what was its stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgeSegError

from .lifeline import hang_on
from .service import Station

if TYPE_CHECKING:
    from typing import TextIO


def serve(station: Station, questions: TextIO, answers: TextIO) -> None:
    """Answer until there are no more questions.

    An answer is `{"ok": ...}`, or `{"error": sentence, "ours": whether it was one of `EdgeSegError`}`.

    Args:
        station: What is asked.
        questions: Lines such as `{"do": "call", "batch": 0}`.
        answers: One line for each.
    """
    for line in questions:
        question: dict[str, Any] = json.loads(line)
        answers.write(json.dumps(_answer(station, question)) + "\n")
        answers.flush()
        if question["do"] == "close":
            return


def _answer(station: Station, question: dict[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in question.items() if name != "do"}
    try:
        return {"ok": getattr(station, question["do"])(**facts)}
    except EdgeSegError as exc:
        return {"error": str(exc), "ours": True}
    except MemoryError:
        return {"error": "out of memory", "ours": False}
    # Whatever a library raises is this row's result, and the others go on.
    except Exception as exc:  # noqa: BLE001
        lines = str(exc).strip().splitlines() or [""]
        return {"error": f"{type(exc).__name__}: {lines[0][:300]}", "ours": False}


def main() -> None:
    """Answer on stdin and stdout; the argument is the number of a descriptor for `hang_on`."""
    # A terminal's Ctrl-C is for the one that asks.
    hang_on(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries print to stdout, from Python and from C: all that goes to stderr.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(Station(), sys.stdin, answers)


if __name__ == "__main__":
    main()
