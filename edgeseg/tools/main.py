"""The command `edgeseg`: its verbs, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import errno
import logging
import shlex
import signal
import traceback
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edgeseg import __version__
from edgeseg.errors import EdgeSegError
from edgeseg.optional import broken_requirement
from edgeseg.streaming.sources.credentials import HIDDEN

from .arguments import redacted_arguments, secrets_in_arguments
from .console import hide_secrets, print_error, print_trace, sanitised

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED = 130
HELP_WIDTH = 100

# Verb -> (module, attribute, one-line help). `edgeseg --help` prints it without importing any verb: OpenCV
# and rich alone would take longer than the help may. A test compares each line with the verb's own.
VERBS = MappingProxyType(
    {
        "export": ("export", "export", "Turn a trained checkpoint into a bundle, proven equal to PyTorch."),
        "calibrate": ("calibrate", "calibrate", "Measure the ranges that INT8 needs, on images of yours."),
        "build-engine": (
            "build_engine",
            "build_engine",
            "Build an engine for this machine, and say which and why.",
        ),
        "run": ("run", "run", "Find instances in cameras, streams, videos, folders or images."),
        "evaluate": ("evaluate", "evaluate", "Score a bundle by COCO average precision of boxes and masks."),
        "benchmark": ("benchmark", "benchmark", "Measure latency, memory, size and accuracy beside PyTorch."),
        "tune": ("tune", "tune", "Find size, proposals, precision and threads that keep to limits."),
        "inspect": ("inspect", "inspect", "Show what a bundle contains, how it was proven, and its engines."),
        "doctor": ("doctor", "doctor", "Show what this machine has, what is missing and how to get it."),
        "demo": ("demo", "demo", "Export and run a shipped model on a synthetic conveyor belt."),
    }
)


class ErrorSummary(NamedTuple):
    """How an error is told: one sentence and an exit code."""

    sentence: str
    exit_code: int = 1


class VerbGroup(click.Group):
    """A group that imports a verb's module when the verb is called, and maps what it raises."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order in which a newcomer needs them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module, attribute, _ = VERBS[cmd_name]
        command: click.Command = getattr(import_module(f".commands.{module}", __package__), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in VERBS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line, for the advice to run it again with `--debug`, and what of it is secret."""
        ctx.meta[__name__] = tuple(arg for arg in args if arg != "--debug")
        hide_secrets(secrets_in_arguments(args))
        with _presentable_usage_errors(ctx.meta[__name__]):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; whatever it raises is told on stderr."""
        try:
            with _termination_as_interrupt(), _presentable_usage_errors(ctx.meta[__name__]):
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            # The reader of a pipe, such as `head`, has seen enough; click then leaves without a word.
            raise
        except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001
            if ctx.params["debug"]:
                print_trace(traceback.format_exc().rstrip())
            failure = failure_from_error(exc, ctx.meta[__name__])
            print_error(failure.sentence)
            ctx.exit(failure.exit_code)


def failure_from_error(exc: BaseException, args: tuple[str, ...]) -> ErrorSummary:
    """Put an error into one sentence that says how to go on, and choose the exit code.

    Args:
        exc: What a verb raised.
        args: The command line, without `edgeseg`.
    """
    if isinstance(exc, EdgeSegError):
        return ErrorSummary(str(exc), exc.exit_code)
    if isinstance(exc, KeyboardInterrupt):
        return ErrorSummary("interrupted; what was written before stays", INTERRUPTED)
    if isinstance(exc, OSError) and exc.errno is not None:
        return ErrorSummary(_sentence_from_os_error(exc))
    if isinstance(exc, MemoryError):
        return ErrorSummary("out of memory; close other programs or choose a smaller --size or --batch")
    if broken := broken_requirement(exc):
        return ErrorSummary(str(broken), broken.exit_code)
    words = str(exc).strip()
    reason = f"{type(exc).__name__}: {words.splitlines()[0]}" if words else type(exc).__name__
    again = shlex.join(["edgeseg", "--debug", *redacted_arguments(args)])
    hint = " (with what *** stands for)" if HIDDEN in again else ""
    return ErrorSummary(f"unexpected {reason}; to see where, run{hint}: {again}")


def _sentence_from_os_error(exc: OSError) -> str:
    where = f"{exc.filename}: " if exc.filename else ""
    advice = {
        errno.ENOSPC: "no space left on the disk; free some, or name a folder on another disk with -o",
        errno.EDQUOT: "disk quota used up; free some, or name a folder on another disk with -o",
        errno.EACCES: "permission denied; change its owner or mode, or name another path",
        errno.EPERM: "operation not permitted; change its owner or mode, or name another path",
        errno.EROFS: "the file system is read-only; name a folder elsewhere with -o",
        errno.ENOENT: "no such file or folder; check the path",
        errno.EMFILE: "too many open files; raise the limit with `ulimit -n 4096`",
    }
    return where + advice.get(exc.errno or 0, f"{exc.strerror or exc}; check the path and the device")


@contextmanager
def _presentable_usage_errors(args: tuple[str, ...]) -> Iterator[None]:
    """Let click repeat wrong arguments without the secrets in them."""
    try:
        yield
    except click.ClickException as exc:
        text = exc.message
        for arg, shown in zip(args, redacted_arguments(args), strict=True):
            text = text if arg == shown else text.replace(arg, shown)
        exc.message = sanitised(text)  # type: ignore[misc]
        raise


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return sanitised(super().format(record), lines=True)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let `docker stop` and systemd end a verb as Ctrl-C does, so that its files are made whole."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
    epilog="\b\nExample:\n  edgeseg export model.pth && edgeseg run --source images/",
)
@click.version_option(__version__, message="edgeseg %(version)s")
@click.option("--debug", is_flag=True, help="Show logs, and where an error came from.")
def cli(debug: bool) -> None:
    """Take a trained torchvision Mask R-CNN checkpoint to a camera.

    On a Jetson, an x86 GPU or a bare CPU. Start with `edgeseg export`, or with `edgeseg demo` if you have
    no checkpoint at hand.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check ran and said no, 130 interrupted.
    """
    if debug:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter("%(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    """Run the command line."""
    cli(prog_name="edgeseg")
