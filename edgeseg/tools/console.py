"""The one place that prints: results on stdout as tables or JSON, remarks on stderr."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from edgeseg.streaming.sources.credentials import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.table import Table

PIPE_WIDTH = 160
# Control characters and characters that change the text direction, as names come from files and from other
# machines, and lone surrogates, which cannot be printed.
CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Secrets that no remark or error may repeat, even if a library has put them into its own message.
_secrets: set[str] = set()


def hide_secrets(secrets: Iterable[str]) -> None:
    """Print `***` instead of these words from now on, in remarks, errors and logs."""
    _secrets.update(secrets)


def sanitised(text: str, *, lines: bool = False) -> str:
    """Hide secrets, and escape control characters.

    Args:
        text: Text of any origin.
        lines: Whether the text may have several lines; otherwise line ends are escaped too.
    """
    return _escape_controls(without_secrets(text, _secrets), lines=lines)


def _escape_controls(text: str, *, lines: bool = False) -> str:
    text = text if lines else text.replace("\n", "\\n")
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def print_json(data: Any) -> None:
    """Print JSON's types on stdout, for machines."""
    text = json.dumps(data, indent=2, ensure_ascii=not _prints_all_letters())
    # What JSON leaves as it is means the same when it is written out.
    click.echo(CONTROL.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))


def print_lines(*lines: str) -> None:
    """Print text on stdout, one line each."""
    for line in lines:
        _echo(_escape_controls(line))


def print_note(text: str) -> None:
    """Print a remark on stderr, where it does not disturb a result that is piped on."""
    _echo(sanitised(text), err=True)


def print_error(text: str) -> None:
    """Print why a command failed on stderr."""
    _echo(f"{click.style('error', fg='red')}: {sanitised(text)}", err=True)


def print_trace(text: str) -> None:
    """Print where an error came from on stderr."""
    _echo(sanitised(text, lines=True), err=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout.

    Args:
        title: Line above the table; empty for none.
        columns: Headings.
        rows: Cells as plain text, one a column; square brackets in them are shown as they are.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_escape_controls(cell)) for cell in row))
    _show(title, table)


def print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line, on stdout."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_edge=False)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(_escape_controls(name)), Text(_escape_controls(value)))
    _show(title, table)


def _show(title: str, table: Table) -> None:
    from rich.console import Console

    title = _escape_controls(title)
    # Emoji and highlighting would change names such as `:0:`; colours stay off when stdout is not a terminal.
    console = Console(emoji=False, highlight=False)
    if console.is_terminal:
        if title:
            console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
        return
    # A pipe has no width, and rich would cut everything to 80 columns and pad it with blanks.
    console.width = PIPE_WIDTH
    if title:
        _echo(title)
    with console.capture() as captured:
        console.print(table)
    for line in (*captured.get().splitlines(), ""):
        _echo(line.rstrip())


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Show which stage a long command is in: a spinner on a terminal's stderr, nothing elsewhere.

    Yields:
        A function to call with each stage as it begins.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: None
        return
    with console.status("") as status:
        yield lambda stage: status.update(Text(sanitised(stage)))


def _echo(text: str, *, err: bool = False) -> None:
    """Print a line; letters that the terminal does not have are written out."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def _prints_all_letters() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
