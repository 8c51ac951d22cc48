"""The one place that prints: results on stdout as tables or JSON, remarks on stderr."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.table import Table

PIPE_WIDTH = 160


def print_json(data: Any) -> None:
    """Print JSON's types on stdout, for machines."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_lines(*lines: str) -> None:
    """Print text on stdout as it is, one line each."""
    for line in lines:
        click.echo(line)


def print_note(text: str) -> None:
    """Print a remark on stderr, where it does not disturb a result that is piped on."""
    click.echo(text, err=True)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout.

    Args:
        title: Line above the table; empty for none.
        columns: Headings.
        rows: Cells as plain text, one a column; square brackets in them are shown as they are.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _show(title, table)


def print_pairs(title: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line, on stdout."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_edge=False)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(escape(name), escape(value))
    _show(title, table)


def _show(title: str, table: Table) -> None:
    from rich.console import Console

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
        print_lines(title)
    with console.capture() as captured:
        console.print(table)
    print_lines(*(line.rstrip() for line in captured.get().splitlines()), "")


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Show which stage a long command is in: a spinner on a terminal's stderr, nothing elsewhere.

    Yields:
        A function to call with each stage as it begins.
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: None
        return
    with console.status("") as status:
        yield lambda stage: status.update(escape(stage))
