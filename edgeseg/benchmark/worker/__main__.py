"""The program of a row's process: JSON requests on stdin, one a line, and answers on what was its stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgeSegError

from .lifeline import exit_with_parent
from .requests import Close, Failure, json_from_answer, request_from_json
from .service import WorkerService

if TYPE_CHECKING:
    from typing import TextIO

    from .requests import Answer


def serve(service: WorkerService, requests: TextIO, responses: TextIO) -> None:
    """Answer until there are no more requests.

    Args:
        service: What is asked.
        requests: Lines such as `{"do": "call", "batch": 0}`.
        responses: One line for each.
    """
    for line in requests:
        request = json.loads(line)
        responses.write(json.dumps(json_from_answer(_answer(service, request))) + "\n")
        responses.flush()
        if request["do"] == Close.verb:
            return


def _answer(service: WorkerService, request: dict[str, Any]) -> Answer | Failure:
    try:
        return service.answer(request_from_json(request))
    except EdgeSegError as exc:
        return Failure(error=str(exc), ours=True)
    except MemoryError:
        return Failure(error="out of memory", ours=False)
    # Whatever a library raises is this row's result, and the others go on.
    except Exception as exc:  # noqa: BLE001
        lines = str(exc).strip().splitlines() or [""]
        return Failure(error=f"{type(exc).__name__}: {lines[0][:300]}", ours=False)


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
