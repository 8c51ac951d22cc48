"""The worker process of a row, as the measuring process sees it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Protocol

from edgeseg.errors import ArtifactError, EdgeSegError

from .requests import Failure, answer_from_json, json_from_request

if TYPE_CHECKING:
    from .requests import AnswerT, Request

COMMAND = (sys.executable, "-m", "edgeseg.benchmark.worker")
# Far longer than any call takes; a process that hangs shall not hang the rest.
TIMEOUT_S = 600.0
CLOSE_TIMEOUT_S = 5.0
CHUNK_BYTES = 1 << 16


class RowError(EdgeSegError):
    """A row cannot be measured, or no longer.

    Attributes:
        refused: The row said itself that it cannot run here; otherwise it broke.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        self.refused = refused
        super().__init__(message)


class Worker(Protocol):
    """Whatever answers requests as `WorkerProcess` does."""

    def ask(self, request: Request[AnswerT], *, timeout_s: float = TIMEOUT_S) -> AnswerT:
        """See `WorkerProcess.ask`."""

    def close(self) -> None:
        """See `WorkerProcess.close`."""


class WorkerProcess:
    """A process that runs one row, so that one that crashes or hangs takes no other with it.

    Args:
        command: Starts the process; the number of a descriptor for `exit_with_parent` is appended. Tests pass
            another.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._stderr_file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        # Closed by the kernel when this process dies: see `exit_with_parent`.
        read_end, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                (*command, str(read_end)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr_file,
                bufsize=0,
                pass_fds=(read_end,),
            )
        except BaseException:
            os.close(self._lifeline)
            self._stderr_file.close()
            raise
        finally:
            os.close(read_end)
        self._buffer = b""

    def ask(self, request: Request[AnswerT], *, timeout_s: float = TIMEOUT_S) -> AnswerT:
        """Have something done and wait for the answer.

        Args:
            request: What.
            timeout_s: The process is ended when it takes longer.

        Raises:
            RowError: It was refused, failed, crashed or took too long.
        """
        try:
            self._send(json.dumps(json_from_request(request)).encode() + b"\n")
            line = self._read_line(time.monotonic() + timeout_s)
        except TimeoutError as exc:
            self._kill()
            msg = f"it took longer than {timeout_s:g} s to {request.verb}, and was ended"
            raise RowError(msg) from exc
        except (BrokenPipeError, EOFError) as exc:
            raise RowError(self._exit_reason()) from exc
        try:
            answer = answer_from_json(request, json.loads(line))
        except ArtifactError as exc:
            raise RowError(str(exc)) from exc
        if isinstance(answer, Failure):
            raise RowError(answer.error, refused=answer.ours)
        return answer

    def close(self) -> None:
        """End the process; harmless if it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if not self._stderr_file.closed:
            os.close(self._lifeline)
        self._stderr_file.close()

    def _send(self, line: bytes) -> None:
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise BrokenPipeError
        stream.write(line)

    def _read_line(self, deadline_s: float) -> bytes:
        """Read an answer.

        Raises:
            EOFError: The process has ended.
            TimeoutError: It has not come by `deadline_s`, a time of `time.monotonic()`.
        """
        stream = self._process.stdout
        if stream is None or stream.closed:
            raise EOFError
        while b"\n" not in self._buffer:
            if not select.select([stream], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                raise TimeoutError
            chunk = os.read(stream.fileno(), CHUNK_BYTES)
            if not chunk:
                raise EOFError
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _kill(self) -> None:
        try:
            # With what it started: compilers.
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It has ended, or not come so far as to have a group of its own.
            self._process.kill()
        self._process.wait()

    def _exit_reason(self) -> str:
        """Say how it ended: `its process ended by SIGKILL, often for lack of memory`."""
        if self._stderr_file.closed:
            return "its process was closed"
        code = self._process.wait()
        self._stderr_file.seek(0)
        lines = self._stderr_file.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        if code >= 0:
            return f"its process ended with code {code}{last}"
        name = signal.Signals(-code).name
        hint = ", as happens where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}{last}"
