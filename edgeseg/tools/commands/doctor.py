"""`edgeseg doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgeseg.tools.options import json_option

if TYPE_CHECKING:
    from edgeseg.runtime.host.machine import Component

ENGINES = "Engines go to"


@click.command(epilog="\b\nExample:\n  edgeseg doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Show what this machine has, what is missing and how to get it.

    Nothing is installed or changed. "none" is not an error: it says that a piece of hardware is not in this
    machine, or that a package would be of no use here.
    """
    from edgeseg import __version__
    from edgeseg.doctor.packages import inspect_machine
    from edgeseg.records import json_from_record
    from edgeseg.runtime.host.machine import run_check
    from edgeseg.tools.console import print_json

    components = [*inspect_machine(), *run_check(ENGINES, lambda: [_engines()])]
    if as_json:
        print_json({"edgeseg": __version__, "components": [json_from_record(item) for item in components]})
    else:
        _print(components)


def _engines() -> Component:
    """Say which target `edgeseg build-engine` chooses on this machine by default, and why."""
    from edgeseg.bundle.engines import EngineOptions
    from edgeseg.runtime.host.machine import Component, ComponentState
    from edgeseg.runtime.targets import choose_engine

    choice = choose_engine(None, None, EngineOptions())
    return Component(name=ENGINES, state=ComponentState.OK, detail=f"{choice.target.value}: {choice.reason}")


def _print(components: list[Component]) -> None:
    from edgeseg.tools.console import print_lines, print_table

    print_table("", ("component", "state", "detail"), [(c.name, c.state.value, c.detail) for c in components])
    incomplete = [component for component in components if component.mend]
    if not incomplete:
        print_lines("Nothing is missing.")
    for component in incomplete:
        print_lines(f"To {component.needed_to} ({component.name}):", f"  {component.mend}")
