"""A row's process, seen from the one that measures."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Protocol

from edgeseg.errors import EdgeSegError

COMMAND = (sys.executable, "-m", "edgeseg.benchmark.worker")
# Far longer than any call takes; a process that hangs shall not hang the rest.
TIMEOUT_S = 600.0
CLOSING_S = 5.0
CHUNK = 1 << 16


class RowError(EdgeSegError):
    """A row cannot be measured, or no longer.

    Attributes:
        refused: The row said itself that it cannot run here; otherwise it broke.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(message)


class Process(Protocol):
    """Whatever answers questions as `WorkerProcess` does."""

    def ask(self, do: str, *, timeout_s: float = TIMEOUT_S, **facts: Any) -> dict[str, Any]:
        """See `WorkerProcess.ask`."""

    def close(self) -> None:
        """See `WorkerProcess.close`."""


class WorkerProcess:
    """A process that runs one row, so that one that crashes or hangs takes no other with it.

    Args:
        command: Of the process, which is given the number of a descriptor for `hang_on`; tests put another
            in its place.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # Closed by the kernel when this process dies: see `hang_on`.
        held, self._alive = os.pipe()
        try:
            self._process = subprocess.Popen(
                (*command, str(held)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                pass_fds=(held,),
            )
        except BaseException:
            os.close(self._alive)
            self._errors.close()
            raise
        finally:
            os.close(held)
        self._rest = b""

    def ask(self, do: str, *, timeout_s: float = TIMEOUT_S, **facts: Any) -> dict[str, Any]:
        """Have something done and wait for the answer.

        Args:
            do: Method of `Station`.
            timeout_s: The process is ended when it takes longer.
            facts: Its arguments.

        Raises:
            RowError: It was refused, failed, crashed or took too long.
        """
        try:
            self._send(json.dumps({"do": do, **facts}).encode() + b"\n")
            answer = json.loads(self._line(time.monotonic() + timeout_s))
        except TimeoutError as exc:
            self._kill()
            msg = f"it took longer than {timeout_s:g} s to {do}, and was ended"
            raise RowError(msg) from exc
        except (BrokenPipeError, EOFError) as exc:
            raise RowError(self._epitaph()) from exc
        if "error" in answer:
            raise RowError(answer["error"], refused=answer["ours"])
        found: dict[str, Any] = answer["ok"]
        return found

    def close(self) -> None:
        """End the process; harmless if it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(CLOSING_S)
        except subprocess.TimeoutExpired:
            self._kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if not self._errors.closed:
            os.close(self._alive)
        self._errors.close()

    def _send(self, line: bytes) -> None:
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError
        stream.write(line)

    def _line(self, until: float) -> bytes:
        """Read an answer.

        Raises:
            EOFError: The process has ended.
            TimeoutError: It has not come by `until`, a time of `time.monotonic()`.
        """
        stream = self._process.stdout
        if stream is None or stream.closed:
            raise EOFError
        while b"\n" not in self._rest:
            if not select.select([stream], [], [], max(0.0, until - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(stream.fileno(), CHUNK)
            if not chunk:
                raise EOFError
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _kill(self) -> None:
        try:
            # With what it started: compilers.
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended, or not come so far as to have a group of its own.
            self._process.kill()
        self._process.wait()

    def _epitaph(self) -> str:
        """Say how it ended: `its process ended by SIGKILL, often for lack of memory`."""
        if self._errors.closed:
            return "its process was closed"
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        if code >= 0:
            return f"its process ended with code {code}{last}"
        name = signal.Signals(-code).name
        hint = ", as happens where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}{last}"
