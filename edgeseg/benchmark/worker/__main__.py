"""The program of a row's process: JSON questions on stdin, one a line, and answers on what was its stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgeSegError

from .lifeline import exit_with_parent
from .service import WorkerService

if TYPE_CHECKING:
    from typing import TextIO


def serve(service: WorkerService, requests: TextIO, responses: TextIO) -> None:
    """Answer until there are no more questions.

    An answer is `{"ok": ...}`, or `{"error": sentence, "ours": whether it was one of `EdgeSegError`}`.

    Args:
        service: What is asked.
        requests: Lines such as `{"do": "call", "batch": 0}`.
        responses: One line for each.
    """
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        responses.write(json.dumps(_respond(service, request)) + "\n")
        responses.flush()
        if request["do"] == "close":
            return


def _respond(service: WorkerService, request: dict[str, Any]) -> dict[str, Any]:
    arguments = {name: value for name, value in request.items() if name != "do"}
    try:
        return {"ok": getattr(service, request["do"])(**arguments)}
    except EdgeSegError as exc:
        return {"error": str(exc), "ours": True}
    except MemoryError:
        return {"error": "out of memory", "ours": False}
    # Whatever a library raises is this row's result, and the others go on.
    except Exception as exc:  # noqa: BLE001
        lines = str(exc).strip().splitlines() or [""]
        return {"error": f"{type(exc).__name__}: {lines[0][:300]}", "ours": False}


def main() -> None:
    """Answer on stdin and stdout; the argument is the number of a descriptor for `exit_with_parent`."""
    # A terminal's Ctrl-C is for the one that asks.
    exit_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries print to stdout, from Python and from C: all that goes to stderr.
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(WorkerService(), sys.stdin, responses)


if __name__ == "__main__":
    main()
